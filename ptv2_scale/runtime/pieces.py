"""Tensors of any size are worked on in pieces, so that memory for them is bounded."""

from __future__ import annotations

from collections.abc import Iterator

# Elements at once: 32 MiB of fp32, for the next piece is read while the last is still there.
PIECE = 1 << 23


def ranges(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of at most `PIECE` elements.

    Args:
        start: the first element.
        stop: one past the last element.

    Yields:
        (first element, one past the last) of each range, in ascending order.
    """
    for low in range(start, stop, PIECE):
        yield low, min(low + PIECE, stop)
