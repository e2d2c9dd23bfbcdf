"""What a run reached, as it is written to `RUN/result.json`."""

from __future__ import annotations

import resource
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ptv2_scale.engine.ranks import Ranks


@dataclass(frozen=True)
class Result:
    """What a run reached.

    Attributes:
        task: name of the task.
        split: that was evaluated.
        metric: name of the metric.
        value: the best evaluation's.
        majority: score of always predicting the most frequent class of that split.
        best_step: step of the best evaluation.
        steps: optimizer steps made.
        trained_parameters: of prefix encoder and head.
        backbone_parameters: frozen.
        seconds: wall-clock time of this process, start-up included.
        peak_memory_bytes: the largest of all ranks: GPU memory on a GPU, resident memory without.
        ranks: number of them.
        head_only: score of a head trained alone, where asked for.
    """

    task: str
    split: str
    metric: str
    value: float
    majority: float
    best_step: int
    steps: int
    trained_parameters: int
    backbone_parameters: int
    seconds: float
    peak_memory_bytes: int
    ranks: int
    head_only: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is written; `head_only` only where it was asked for."""
        fields = asdict(self)
        if self.head_only is None:
            del fields["head_only"]
        return fields


def peak_memory(ranks: Ranks) -> int:
    """Largest memory that any rank used so far, in bytes: of the GPU, or resident without one."""
    if ranks.device.type == "cuda":
        own = torch.cuda.max_memory_allocated(ranks.device)
    else:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peak = torch.tensor(own, dtype=torch.int64, device=ranks.device)
    torch.distributed.all_reduce(peak, op=torch.distributed.ReduceOp.MAX)
    return int(peak)
