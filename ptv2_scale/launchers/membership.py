"""Ranks that Slurm itself has started: torch's names for what Slurm says of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping


def adopt() -> None:
    """Let a process that srun started as one of several be a rank; others are left alone."""
    os.environ.update(of_slurm(os.environ))


def of_slurm(environ: Mapping[str, str]) -> dict[str, str]:
    """Torch's variables for a task of a Slurm step; none where another launcher has set them."""
    if "RANK" in environ or int(environ.get("SLURM_STEP_NUM_TASKS", "1")) < 2:
        return {}
    here = _expanded(environ["SLURM_STEP_TASKS_PER_NODE"])[int(environ["SLURM_NODEID"])]
    return {
        "RANK": environ["SLURM_PROCID"],
        "LOCAL_RANK": environ["SLURM_LOCALID"],
        "WORLD_SIZE": environ["SLURM_STEP_NUM_TASKS"],
        "LOCAL_WORLD_SIZE": str(here),
    }


def _expanded(counts: str) -> list[int]:
    """Tasks of each node, from "2(x3),1"."""
    found = re.findall(r"(\d+)(?:\(x(\d+)\))?", counts)
    return [int(tasks) for tasks, times in found for _ in range(int(times or 1))]
