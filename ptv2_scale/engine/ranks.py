"""Starting this process as one rank of a run, under any launcher or none."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from typing import TypeVar

import deepspeed
import torch
import torch.distributed
from deepspeed.accelerator import get_accelerator

from ptv2_scale.engine.jit import prepare_extensions
from ptv2_scale.engine.rendezvous import init_method
from ptv2_scale.errors import UserError
from ptv2_scale.launchers import interfaces

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
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


def rank_from_environment() -> int:
    """This process's rank before anything is started; 0 without a launcher."""
    return int(os.environ.get("RANK", "0"))


def world_from_environment() -> int:
    """Number of ranks before anything is started; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def start(cpu_threads: int, timeout: float = 1800.0) -> Ranks:
    """Join the run that the launcher's environment describes; alone without one.

    Args:
        cpu_threads: threads of PyTorch on the CPU. Results in fp32 depend on it, so it comes from
            the recipe and not from whatever OMP_NUM_THREADS a launcher set.
        timeout: seconds until ranks that do not come, or a collective that does not end, raise.
    """
    torch.set_num_threads(cpu_threads)
    if "RANK" not in os.environ:
        _stand_alone()
    prepare_extensions()
    per_host = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    os.environ.update(interfaces.choose(os.environ, world_from_environment() > per_host))
    with redirect_stdout(StringIO()):  # DeepSpeed prints a line on every rank
        deepspeed.init_distributed(
            verbose=False, timeout=timedelta(seconds=timeout), init_method=init_method()
        )
    local = int(os.environ["LOCAL_RANK"])
    accelerator = get_accelerator()
    return Ranks(
        rank=torch.distributed.get_rank(),
        world=torch.distributed.get_world_size(),
        local=local,
        per_host=per_host,
        device=torch.device(accelerator.device_name(local)),
    )


def _stand_alone() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    os.environ.update(alone, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))


def stop() -> None:
    """Leave the run."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def on_first_rank(ranks: Ranks, action: Callable[[], T]) -> T:
    """Run `action` on rank 0 and give every rank its result, or raise its UserError everywhere.

    For what touches files that all ranks share: without this, a rank that found no mistake would
    wait for ever for one that did.
    """
    outcome: list[tuple[T | None, str | None]] = [(None, None)]
    if ranks.first:
        try:
            outcome = [(action(), None)]
        except UserError as error:
            outcome = [(None, str(error))]
    torch.distributed.broadcast_object_list(outcome, src=0)
    value, message = outcome[0]
    if message is not None:
        raise UserError(message)
    return value  # type: ignore[return-value]


def gather(value: T, ranks: Ranks) -> list[T]:
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
