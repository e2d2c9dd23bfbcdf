"""Dealing loses and doubles nothing; by tokens, it makes as few micro-steps as they allow."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptv2_scale.data.collate import Example, Padding, pad_inputs
from ptv2_scale.data.dealing import Size, TokenBudget, accumulation, deal, deal_whole
from ptv2_scale.runtime.errors import UserError

SMALL = st.integers(1, 6)


@st.composite
def dealt(draw: st.DrawFn) -> tuple[list[int], int, int, int]:
    world, micro, steps = draw(SMALL), draw(SMALL), draw(SMALL)
    size = draw(st.integers(0, world * micro * steps))
    return draw(st.permutations(range(size))), world, micro, steps


@given(dealt())
def test_deal_gives_each_example_to_one_place(case: tuple[list[int], int, int, int]) -> None:
    batch, world, micro, steps = case
    ranks = [deal(batch, rank, world, micro, steps) for rank in range(world)]
    assert all(len(micros) == steps for micros in ranks)
    assert Counter(chain(*chain(*ranks))) == Counter(batch)
    sizes = [len(one) for one in chain(*ranks)]
    assert max(sizes) <= micro
    assert max(sizes) - min(sizes) <= 1


def test_ranks_that_wait_for_each_other_have_neighbours() -> None:
    batch = list(range(16))  # longest first, as `epoch_batches` leaves it
    assert deal(batch, 0, 2, 4, 2) == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert deal(batch, 1, 2, 4, 2) == [[4, 5, 6, 7], [12, 13, 14, 15]]


def test_deal_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="9 examples do not fit 4 x 2"):
        deal(list(range(9)), 0, 2, 2, 2)


@given(SMALL, SMALL, SMALL)
def test_accumulation(steps: int, micro: int, world: int) -> None:
    assert accumulation(steps * micro * world, micro, world, "examples") == steps


def test_accumulation_lists_what_divides() -> None:
    with pytest.raises(UserError) as error:
        accumulation(24, 8, 2, "examples")
    reported = str(error.value)
    assert "train.global_batch=24" in reported
    assert "With 2 ranks, train.micro_batch can be: 1, 2, 3, 4, 6, 12." in reported
    assert "With train.micro_batch=8, the number of ranks can be: 1, 3." in reported
    with pytest.raises(UserError, match="With 5 ranks, train.micro_batch can be: none"):
        accumulation(24, 8, 5, "examples")


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers()), max_size=40), SMALL)
def test_whole_batches_are_dealt_to_ranks_in_turn(batches: list[list[int]], world: int) -> None:
    ranks = [deal_whole(batches, rank, world) for rank in range(world)]
    assert len({len(mine) for mine in ranks}) == 1
    done = [batch for mine in ranks for batch in mine if batch is not None]
    assert sorted(done) == sorted(batches)
    assert sum(len(mine) for mine in ranks) - len(batches) < world


def example(lengths: list[int], decoder: int = 0) -> Example:
    inputs = {"input_ids": [0] * sum(lengths)}
    if decoder:
        inputs["decoder_input_ids"] = [0] * decoder
    return Example(0, inputs, sequences=tuple(lengths) if len(lengths) > 1 else ())


@st.composite
def batches_by_tokens(draw: st.DrawFn) -> tuple[list[Example], int, int, int]:
    """Examples, the longest first; tokens in front; longest examples a micro-batch; ranks."""
    questions = st.lists(st.integers(1, 30), min_size=1, max_size=draw(st.integers(1, 3)))
    some = draw(st.lists(st.builds(example, questions, st.integers(0, 5)), min_size=1, max_size=14))
    some.sort(key=lambda one: -one.length)
    return some, draw(st.integers(0, 20)), draw(st.integers(1, 4)), draw(SMALL)


def tokens(some: list[Example], front: int) -> int:
    """What a backbone computes of a batch, counted in its tensors."""
    lines, columns = pad_inputs([Example(0, {"input_ids": one.inputs["input_ids"]},
        sequences=one.sequences) for one in some], Padding(0))["attention_mask"].shape  # fmt: skip
    decoder = max(len(one.inputs.get("decoder_input_ids", ())) for one in some)
    return lines * (columns + decoder + front)


def most_of(some: list[Example], parts: int, front: int) -> int:
    """Tokens of the largest part where neighbours are divided into so many parts at best."""

    @cache
    def best(start: int, left: int) -> int:
        if start == len(some):
            return 0
        if left == 0:
            return 1 << 60
        ends = range(start + 1, len(some) + 1)
        return min(max(tokens(some[start:end], front), best(end, left - 1)) for end in ends)

    return best(0, parts)


@settings(max_examples=60, deadline=None)
@given(batches_by_tokens())
def test_a_budget_of_tokens_takes_as_few_and_as_even_micro_steps_as_there_are(
    case: tuple[list[Example], int, int, int],
) -> None:
    some, front, micro_batch, world = case
    budget = TokenBudget.of(some, front, micro_batch)
    assert budget.most == micro_batch * max(tokens([one], front) for one in some)
    ranks = [budget.deal(range(len(some)), rank, world) for rank in range(world)]
    (steps,) = {len(micros) for micros in ranks}
    in_turn = [micros[step] for step in range(steps) for micros in ranks]
    assert list(chain(*in_turn)) == list(range(len(some)))
    sizes = [tokens([some[index] for index in micro], front) for micro in in_turn if micro]
    assert max(sizes) == most_of(some, steps * world, front) <= budget.most
    assert steps == 1 or most_of(some, (steps - 1) * world, front) > budget.most


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), SMALL, SMALL)
def test_tokens_need_no_more_micro_steps_than_the_longest_examples(
    lengths: list[int], micro_batch: int, world: int
) -> None:
    some = [example([length]) for length in sorted(lengths, reverse=True)]
    micros = TokenBudget.of(some, 7, micro_batch).deal(range(len(some)), 0, world)
    assert len(micros) <= accumulation(len(some), micro_batch, world, "tokens")


def test_a_decoder_and_candidates_count() -> None:
    several, alone = example([3, 9, 4]), example([5], decoder=2)
    assert Size.of(several).padded(10) == 3 * (9 + 10)
    assert Size.of(alone).padded(10) == 5 + 2 + 10
    assert Size.of(several).beside(Size.of(alone)).padded(10) == 4 * (9 + 2 + 10)
