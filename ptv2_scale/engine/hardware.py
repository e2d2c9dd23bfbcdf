"""What a run was computed on, for its result: names and numbers that say nothing of whose it is."""

from __future__ import annotations

import os
import platform
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import torch

from ptv2_scale.backbones.dtypes import computes_in_bf16, measure_matmul_rates
from ptv2_scale.distributed.ranks import RankContext, gather


def hardware_of(ranks: RankContext) -> dict[str, Any]:
    """The hardware of all ranks; every rank calls it.

    Returns:
        `devices`, the number of ranks on each kind of device; `hosts`, how many there are; and of
        the first rank's host `cpu`, `cpu_cores` and `memory_bytes`.
    """
    found = gather((_device(ranks), platform.node()), ranks)
    return {
        "devices": dict(Counter(device for device, _ in found)),
        "hosts": len({host for _, host in found}),
        **gather(_host() if ranks.first else {}, ranks)[0],
    }


def idle_cores_note(ranks: RankContext, threads: int) -> list[str]:
    """A line for the start of a run on CPUs that leaves cores of this host idle; else none.

    Args:
        ranks: this rank, which stands for the others.
        threads: `train.cpu_threads`.
    """
    cores, used = len(os.sched_getaffinity(0)), ranks.per_host * threads
    more = cores // ranks.per_host
    if ranks.device.type != "cpu" or used >= cores or more <= threads:
        return []
    return [
        f"this run computes on {used} of {cores} CPU cores; train.cpu_threads={more} would use more"
    ]


def slow_dtype_note(device: torch.device, dtype: str) -> list[str]:
    """A warning where a number format is slow on a device of this machine; else none.

    Args:
        device: that a rank computes on; on a CPU, with as many threads as PyTorch has now.
        dtype: `backbone.dtype`.
    """
    if dtype != "bf16" or (device.type == "cuda" and computes_in_bf16(device)):
        return []
    slowness = measure_matmul_rates(device).slowness(dtype)
    return [] if slowness is None else [f"warning: {slowness}; consider backbone.dtype=fp32"]


def _device(ranks: RankContext) -> str:
    if ranks.device.type == "cuda":
        return torch.cuda.get_device_name(ranks.device)
    return ranks.device.type


def _host() -> dict[str, Any]:
    return {
        "cpu": _cpu_name(Path("/proc/cpuinfo")),
        "cpu_cores": os.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
    }


def _cpu_name(file: Path) -> str:
    """The processor's name as Linux has it; else what Python knows of it."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
