"""A loss that jumps: worth a warning, for a run rarely recovers from it by itself."""

from __future__ import annotations

from collections import deque
from statistics import median

_REMEMBERED = 50
_FEWEST = 10


class SpikeAlarm:
    """Compares each loss with the median of those before it.

    Args:
        factor: times the median that count as a spike; None: never.
    """

    def __init__(self, factor: float | None) -> None:
        self._factor = factor
        self._losses: deque[float] = deque(maxlen=_REMEMBERED)

    def hear(self, loss: float) -> float | None:
        """The median that `loss` is far above, or None."""
        usual = median(self._losses) if len(self._losses) >= _FEWEST else None
        self._losses.append(loss)
        if self._factor is None or usual is None or loss <= self._factor * usual:
            return None
        return usual
