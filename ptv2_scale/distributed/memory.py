"""Memory that the ranks of a run have used, and that this machine's GPUs have."""

from __future__ import annotations

import resource

import torch
import torch.distributed

from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.runtime.memory import usable_memory


def peak_memory(ranks: RankContext) -> int:
    """Largest memory that any rank used so far, in bytes: of the GPU, or resident without one."""
    if ranks.device.type == "cuda":
        own = torch.cuda.max_memory_allocated(ranks.device)
    else:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peak = torch.tensor(own, dtype=torch.int64, device=ranks.device)
    torch.distributed.all_reduce(peak, op=torch.distributed.ReduceOp.MAX)
    return int(peak)


def gpu_memory() -> int | None:
    """Bytes of this machine's smallest GPU; None: it has none."""
    count = torch.cuda.device_count()
    sizes = (torch.cuda.get_device_properties(one).total_memory for one in range(count))
    return min(sizes, default=None)


def available_memory(ranks: RankContext) -> int:
    """Bytes that this rank can still use: of its GPU, or its part of the host's without one."""
    if ranks.device.type == "cuda":
        return int(torch.cuda.mem_get_info(ranks.device)[0])
    return usable_memory() // ranks.per_host
