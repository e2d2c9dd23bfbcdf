"""Memory that this process can still use: of its host, or of its job."""

from __future__ import annotations

from pathlib import Path

import psutil

GB = 1e9  # as makers of GPUs count
_CGROUPS = Path("/sys/fs/cgroup")


def usable_memory() -> int:
    """Bytes that can still be used: of the host, or of the job where that is less."""
    job = _job_memory(_CGROUPS, Path("/proc/self/cgroup"))
    free = int(psutil.virtual_memory().available)
    return free if job is None else min(free, job)


def _job_memory(root: Path, membership: Path) -> int | None:
    """What a control group (a container, a Slurm job) leaves of its memory; None: no limit.

    Args:
        root: of version 2 of control groups.
        membership: /proc/self/cgroup.
    """
    try:
        own = membership.read_text().rpartition("::/")[2].strip()
    except OSError:
        return None
    groups = [root.joinpath(*Path(own).parts[:depth]) for depth in range(len(Path(own).parts) + 1)]
    return min((left for left in map(_left, groups) if left is not None), default=None)


def _left(group: Path) -> int | None:
    try:
        most, used = (group / "memory.max").read_text(), (group / "memory.current").read_text()
        cache = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    # Pages of files are given up when they are needed.
    return None if most.strip() == "max" else int(most) - int(used) + int(cache["inactive_file"])
