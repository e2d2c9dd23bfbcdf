"""Starting this process as one rank of a run, under any launcher or none."""

from __future__ import annotations

import os
import socket
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
from ptv2_scale.runtime import interfaces
from ptv2_scale.runtime.rank_env import world_from_environment


def start(cpu_threads: int, timeout: float = 1800.0) -> RankContext:
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
    return RankContext(
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
