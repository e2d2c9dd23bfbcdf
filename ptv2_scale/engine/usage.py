"""What a run has taken so far: time and memory, over all processes that it was resumed by."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ptv2_scale.distributed.leaders import on_first_rank
from ptv2_scale.distributed.memory import peak_memory
from ptv2_scale.distributed.ranks import RankContext


@dataclass(frozen=True)
class RunUsage:
    """Time and memory of a run.

    Attributes:
        ranks: where this process stands.
        began: `time.perf_counter()` at this process's start.
        seconds_before: wall-clock time of the processes that it goes on from.
        peak_before: the most bytes that a rank of those had.
    """

    ranks: RankContext
    began: float
    seconds_before: float = 0.0
    peak_before: int = 0

    def seconds_here(self) -> float:
        """Wall-clock time of this process and of those before it, by this rank's clock."""
        return self.seconds_before + time.perf_counter() - self.began

    def seconds(self) -> float:
        """The same, alike on all ranks; every rank calls it."""
        return round(on_first_rank(self.ranks, self.seconds_here), 1)

    def peak_memory(self) -> int:
        """The most bytes that a rank has had, in any of the processes; every rank calls it."""
        return max(self.peak_before, peak_memory(self.ranks))
