"""Where this process stands among the ranks of a run, and what ranks do together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed

T = TypeVar("T")


@dataclass(frozen=True)
class RankContext:
    """Where this process stands, once it has joined the others.

    Attributes:
        rank: the rank, from 0 to world - 1.
        world: number of ranks.
        local: the rank within this host, from 0.
        per_host: number of ranks on this host.
        device: the device that this rank computes on.
    """

    rank: int
    world: int
    local: int
    per_host: int
    device: torch.device

    @classmethod
    def alone(cls, device: torch.device | None = None) -> RankContext:
        """This process by itself, where nothing is being run."""
        return cls(0, 1, 0, 1, device or torch.device("cpu"))

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
