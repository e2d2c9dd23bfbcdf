"""A loss that jumps: worth a warning, for a run rarely recovers from it by itself."""

from __future__ import annotations

from collections import deque

_REMEMBERED = 50
_FEWEST = 10


class LossSpikeDetector:
    """Compares each loss with the largest of those before it.

    Not with their mean or median: where a task is learnt, most losses are close to zero, and one
    hard example is many times that.

    Args:
        factor: times the largest that count as a spike; None: never.
    """

    def __init__(self, factor: float | None) -> None:
        self._factor = factor
        self._losses: deque[float] = deque(maxlen=_REMEMBERED)

    def update(self, loss: float) -> float | None:
        """The largest loss of late, where `loss` is far above it; else None."""
        largest = max(self._losses) if len(self._losses) >= _FEWEST else None
        self._losses.append(loss)
        if self._factor is None or largest is None or loss <= self._factor * largest:
            return None
        return largest
