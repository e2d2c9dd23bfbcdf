"""What all ranks say, as one text."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ptv2_scale.launchers.log_merger import GATHER_S, REPEAT_S, LogMerger


def shown(*lines: tuple[float, str], end: float = 100.0) -> list[str]:
    merger, out = LogMerger(), []
    for now, line in lines:
        out += [*merger.tick(now), *merger.add(line, now)]
    return [*out, *merger.tick(end), *merger.finish()]


def test_the_first_rank_speaks_for_all_that_say_the_same() -> None:
    assert shown(
        (0.0, "[b rank 1] slow disk\n"), (0.1, "slow disk\n"), (REPEAT_S, "[c rank 2] slow disk\n")
    ) == ["slow disk\n"]


def test_what_several_others_say_is_shown_once_with_their_names() -> None:
    said = [(0.0, "[a rank 1] x\n"), (0.1, "[b rank 2] x\n"), (0.1, "[b rank 3] x\n"),
            (0.2, "[b rank 5] x\n"), (0.2, "[b rank 4] y\n")]  # fmt: skip
    assert shown(*said) == ["[a rank 1, b ranks 2-3, 5] x\n", "[b rank 4] y\n"]


def test_it_is_shown_after_a_moment_and_not_before() -> None:
    merger = LogMerger()
    assert list(merger.add("[a rank 1] x\n", 0.0)) == []
    assert list(merger.tick(GATHER_S / 2)) == []
    assert list(merger.tick(GATHER_S * 1.1)) == ["[a rank 1] x\n"]


LINES = st.lists(
    st.tuples(
        st.integers(0, 4), st.sampled_from(["p", "q", "r"]), st.floats(0, 1, allow_nan=False)
    ),
    max_size=60,
)


@given(LINES)
def test_no_line_of_others_is_lost_and_order_is_kept(said: list[tuple[int, str, float]]) -> None:
    now, lines = 0.0, []
    for rank, text, pause in said:
        now += pause
        # Each rank's texts are its own, so that no other rank speaks for it.
        lines.append((now, f"[h rank {rank}] {text}{rank}\n" if rank else f"{text}0\n"))
    out = shown(*lines, end=now + 1)
    for rank in range(5):
        mine = [
            text for _, text in lines if (f"rank {rank}]" in text) or (not rank and "[" not in text)
        ]
        assert [text for text in out if text in Counter(mine)] == mine


@given(LINES)
def test_what_all_say_is_always_told(said: list[tuple[int, str, float]]) -> None:
    now, lines = 0.0, []
    for rank, text, pause in said:
        now += pause
        lines.append((now, f"[h rank {rank}] {text}\n" if rank else f"{text}\n"))
    reported = {line.rpartition("] ")[2] for line in shown(*lines, end=now + 1)}
    assert reported == {f"{text}\n" for _, text, _ in said}
