"""Starting this process as one rank of a run, under any launcher or none."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import timedelta
from io import StringIO
from typing import NoReturn

import deepspeed
import torch
import torch.distributed
from deepspeed.accelerator import get_accelerator

from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine.jit import prepare_extensions
from ptv2_scale.engine.rendezvous import join_rendezvous
from ptv2_scale.engine.shared_memory import release_buffer, remove_abandoned_buffers
from ptv2_scale.runtime import interfaces
from ptv2_scale.runtime.rank_env import RankEnv, only_rank, rank_env

WAIT_S = 1830.0


def start(cpu_threads: int, timeout: float = WAIT_S) -> RankContext:
    """Join the run that the launcher's environment describes; alone without one.

    Args:
        cpu_threads: threads of PyTorch on the CPU. Results in fp32 depend on it, so it comes from
            the recipe and not from whatever OMP_NUM_THREADS a launcher set.
        timeout: seconds until ranks that do not come, or a collective that does not end, raise.

    Raises:
        UserError: the environment contradicts itself, or an extension could not be built.
        FailedElsewhere: another rank has failed before all had met.
    """
    torch.set_num_threads(cpu_threads)
    place = rank_env(os.environ) or only_rank()
    os.environ.update(place.variables())
    url = join_rendezvous(place, _attempt(lambda: _prepare(place)), timeout)
    with redirect_stdout(StringIO()):  # DeepSpeed prints a line on every rank
        deepspeed.init_distributed(
            verbose=False, timeout=timedelta(seconds=timeout), init_method=url
        )
    device = torch.device(get_accelerator().device_name(place.local))
    ranks = RankContext(place.rank, place.world, place.local, place.per_host, device)
    release_buffer(ranks)
    return ranks


def refuse(failure: Exception, timeout: float = WAIT_S) -> NoReturn:
    """Meet the other ranks only to tell them that this one cannot join.

    Args:
        failure: why.
        timeout: seconds until ranks that do not come are given up.

    Raises:
        Exception: `failure`, where this is the lowest rank that has failed.
        FailedElsewhere: a lower one has failed, too.
    """
    join_rendezvous(rank_env(os.environ) or only_rank(), failure, timeout)
    raise failure


def _prepare(place: RankEnv) -> None:
    prepare_extensions()
    os.environ.update(interfaces.interface_env(os.environ, place.world > place.per_host))
    remove_abandoned_buffers()


def _attempt(action: Callable[[], None]) -> Exception | None:
    try:
        action()
    except Exception as failure:
        return failure
    return None


def stop() -> None:
    """Leave the run; DeepSpeed can start another one in this process afterwards."""
    if torch.distributed.is_initialized():
        # Not PyTorch's own: DeepSpeed would go on to use groups that are gone.
        deepspeed.comm.destroy_process_group()
