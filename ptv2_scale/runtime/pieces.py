"""Tensors of any size are worked on in pieces, so that memory for them is bounded."""

from __future__ import annotations

from collections.abc import Iterator

PIECE = 1 << 24  # elements at once: 64 MiB of fp32


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
