"""Starting this process as one rank of a run, under any launcher or none."""

from __future__ import annotations

import os
from contextlib import redirect_stdout
from datetime import timedelta
from io import StringIO

import deepspeed
import torch
import torch.distributed
from deepspeed.accelerator import get_accelerator

from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine.jit import prepare_extensions
from ptv2_scale.engine.rendezvous import init_method
from ptv2_scale.engine.shared_memory import release_buffer, remove_abandoned_buffers
from ptv2_scale.runtime import interfaces
from ptv2_scale.runtime.rank_env import only_rank, rank_env


def start(cpu_threads: int, timeout: float = 1800.0) -> RankContext:
    """Join the run that the launcher's environment describes; alone without one.

    Args:
        cpu_threads: threads of PyTorch on the CPU. Results in fp32 depend on it, so it comes from
            the recipe and not from whatever OMP_NUM_THREADS a launcher set.
        timeout: seconds until ranks that do not come, or a collective that does not end, raise.

    Raises:
        UserError: the environment contradicts itself, or an extension could not be built.
    """
    torch.set_num_threads(cpu_threads)
    place = rank_env(os.environ) or only_rank()
    os.environ.update(place.variables())
    prepare_extensions()
    os.environ.update(interfaces.interface_env(os.environ, place.world > place.per_host))
    remove_abandoned_buffers()
    with redirect_stdout(StringIO()):  # DeepSpeed prints a line on every rank
        deepspeed.init_distributed(
            verbose=False, timeout=timedelta(seconds=timeout), init_method=init_method()
        )
    device = torch.device(get_accelerator().device_name(place.local))
    ranks = RankContext(place.rank, place.world, place.local, place.per_host, device)
    release_buffer(ranks)
    return ranks


def stop() -> None:
    """Leave the run; DeepSpeed can start another one in this process afterwards."""
    if torch.distributed.is_initialized():
        # Not PyTorch's own: DeepSpeed would go on to use groups that are gone.
        deepspeed.comm.destroy_process_group()
