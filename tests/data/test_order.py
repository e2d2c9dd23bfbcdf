"""The order is a permutation that knows nothing of ranks; dealing loses and doubles nothing."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptv2_scale.data.order import (
    Group,
    accumulation,
    batch_counts,
    deal,
    deal_whole,
    epoch_batches,
    evaluation_batches,
    mixed_batches,
)
from ptv2_scale.runtime.errors import UserError

LENGTHS = st.lists(st.integers(1, 40), max_size=300)
SMALL = st.integers(1, 6)


@given(LENGTHS, st.integers(1, 40), st.integers(0, 5), st.integers(0, 5))
def test_each_index_once_in_full_batches_and_one_rest(
    lengths: list[int], size: int, seed: int, epoch: int
) -> None:
    batches = epoch_batches(lengths, size, seed, epoch)
    assert sorted(chain(*batches)) == list(range(len(lengths)))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert len(batches) == -(-len(lengths) // size)


GROUPS = [Group(tuple(range(0, 50)), 50.0), Group(tuple(range(50, 57)), 7.0)]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(1, 9), st.integers(0, 3))
def test_batches_of_several_tasks_by_size(sizes: list[int], batch: int, epoch: int) -> None:
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    groups = [
        Group(tuple(range(start, start + size)), size)
        for start, size in zip(starts, sizes, strict=True)
    ]
    counts = batch_counts(groups, batch)
    found = mixed_batches([1] * sum(sizes), groups, batch, 3, epoch)
    kinds = [
        {place for place, one in enumerate(groups) for i in part if i in one.indices}
        for part in found
    ]
    assert all(len(kind) == 1 for kind in kinds)
    assert Counter(place for kind in kinds for place in kind) == dict(enumerate(counts))
    assert all(0 < len(part) <= batch for part in found)


def test_a_task_goes_on_from_epoch_to_epoch_in_its_own_order() -> None:
    equal = [Group(group.indices, 1.0) for group in GROUPS]
    assert batch_counts(GROUPS, 8) == [7, 1]
    assert batch_counts(equal, 8) == [4, 4]
    lengths = [1 + index % 5 for index in range(57)]
    batches = [part for epoch in range(7) for part in mixed_batches(lengths, equal, 8, 1, epoch)]
    large = Counter(index for part in batches for index in part if index < 50)
    small = Counter(index for part in batches for index in part if index >= 50)
    # 28 batches each: four times through seven batches, and 28 times through one.
    assert set(large.values()) == {4}
    assert set(small.values()) == {28}


def test_one_task_alone_has_the_order_it_always_had() -> None:
    lengths = [1 + index % 5 for index in range(57)]
    whole = [Group(tuple(range(57)), 57.0)]
    assert mixed_batches(lengths, whole, 8, 1, 2) == epoch_batches(lengths, 8, 1, 2)


def test_order_depends_on_seed_and_epoch() -> None:
    lengths = [1 + index * 7 % 40 for index in range(500)]
    orders = [epoch_batches(lengths, 8, *which) for which in ((1, 0), (1, 1), (2, 0), (1, 0))]
    assert orders[0] == orders[3]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    # The batch of the longest texts must not come first in every epoch.
    first = {epoch_batches(lengths, 8, 1, epoch)[0][0] for epoch in range(8)}
    assert len({lengths[index] for index in first}) > 1


def test_order_is_the_same_in_another_process() -> None:
    code = (
        "from ptv2_scale.data.order import epoch_batches;"
        "print(epoch_batches([i * 7 % 13 for i in range(50)], 8, 3, 2))"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert found.strip() == str(epoch_batches([i * 7 % 13 for i in range(50)], 8, 3, 2))


def test_buckets_lower_the_padding() -> None:
    lengths = [1 + index * index % 97 for index in range(5000)]
    padded = sum(
        max(lengths[index] for index in batch) * len(batch)
        for batch in epoch_batches(lengths, 16, 0, 0)
    )
    in_file_order = sum(
        max(lengths[start : start + 16]) * len(lengths[start : start + 16])
        for start in range(0, len(lengths), 16)
    )
    text = sum(lengths)
    assert padded - text < 0.1 * (in_file_order - text)


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
    assert accumulation(steps * micro * world, micro, world) == steps


def test_accumulation_lists_what_divides() -> None:
    with pytest.raises(UserError) as error:
        accumulation(24, 8, 2)
    reported = str(error.value)
    assert "train.global_batch=24" in reported
    assert "With 2 ranks, train.micro_batch can be: 1, 2, 3, 4, 6, 12." in reported
    assert "With train.micro_batch=8, the number of ranks can be: 1, 3." in reported
    with pytest.raises(UserError, match="With 5 ranks, train.micro_batch can be: none"):
        accumulation(24, 8, 5)


@settings(max_examples=50)
@given(LENGTHS, st.integers(1, 20), SMALL)
def test_evaluation_batches_are_dealt_whole(lengths: list[int], micro: int, world: int) -> None:
    batches = evaluation_batches(lengths, micro)
    assert sorted(chain(*batches)) == list(range(len(lengths)))
    longest = [max(lengths[index] for index in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    ranks = [deal_whole(batches, rank, world) for rank in range(world)]
    assert len({len(mine) for mine in ranks}) == 1
    done = [batch for mine in ranks for batch in mine if batch is not None]
    assert sorted(done) == sorted(batches)
    assert sum(len(mine) for mine in ranks) - len(batches) < world
