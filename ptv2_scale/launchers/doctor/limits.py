"""What the system grants a process: memory, files, shared memory, disk."""

from __future__ import annotations

import os
import resource
import tempfile
from pathlib import Path

import psutil

from ptv2_scale.launchers.doctor.facts import Limits

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


def limits() -> Limits:
    """Of this process, as ranks would inherit them."""
    locked, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    shared = Path("/dev/shm")
    return Limits(
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        locked_memory=None if locked == resource.RLIM_INFINITY else locked,
        shared_memory=free_bytes(shared) if shared.is_dir() else None,
        infiniband=any(Path("/sys/class/infiniband").glob("*")),
        temporary=_temporary(),
    )


def _temporary() -> int | None:
    try:
        with tempfile.TemporaryFile():
            return free_bytes(Path(tempfile.gettempdir()))
    except OSError:
        return None


def free_bytes(folder: Path) -> int:
    """What a process of this user can still write there."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
