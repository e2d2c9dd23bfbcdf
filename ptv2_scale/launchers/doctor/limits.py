"""What the system grants a process: files, shared memory, disk."""

from __future__ import annotations

import os
import resource
import tempfile
from pathlib import Path

from ptv2_scale.launchers.doctor.facts import Limits


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
