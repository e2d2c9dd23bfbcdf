"""Where this process stands among the ranks of a run, and what ranks do together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed

T = TypeVar("T")


@dataclass(frozen=True)
class RankContext:
    """Where this process stands.

    Attributes:
        rank: from 0 to world - 1.
        world: number of ranks.
        local: rank within this host.
        per_host: ranks on this host.
        device: what it computes on.
    """

    rank: int
    world: int
    local: int
    per_host: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the rank that speaks and writes."""
        return self.rank == 0


def gather(value: T, ranks: RankContext) -> list[T]:
    """Every rank's value, in the order of ranks."""
    if ranks.world == 1:
        return [value]
    values: list[T] = [value] * ranks.world
    torch.distributed.all_gather_object(values, value)
    return values


def sum_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Sum a tensor over all ranks, in place.

    Args:
        values: any shape, on the run's device.
    """
    torch.distributed.all_reduce(values)
    return values
