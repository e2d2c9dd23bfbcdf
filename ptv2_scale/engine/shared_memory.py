"""DeepSpeed's buffers between ranks on CPUs: files in memory that it makes and never removes.

Each rank makes one of 69 MB, named after the port of the run, and opens those of all others. Once
all have, nobody needs the names any more: without them the kernel frees the memory with the last
rank, however it ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch.distributed

from ptv2_scale.distributed.ranks import RankContext

MEMORY = Path("/dev/shm")
_STEM = f"deepspeed_allreduce_buffer_{os.getuid()}_"
# Longer than ranks wait for each other: what is as old has been opened by all, or never will be.
_ABANDONED_S = 3600.0


def release_buffer(ranks: RankContext) -> None:
    """Remove the name of this rank's buffer, once all ranks have opened it; every rank calls it."""
    if ranks.device.type == "cpu":
        torch.distributed.barrier()
        _remove(MEMORY / f"{_of_this_run()}{ranks.rank}")


def _of_this_run() -> str:
    return f"{_STEM}{os.environ['MASTER_ADDR']}_{os.environ['MASTER_PORT']}_"


def remove_abandoned_buffers() -> None:
    """Remove this user's buffers whose runs were killed before they had released them."""
    with suppress(OSError):
        for path in list(_abandoned()):
            _remove(path)


def _abandoned() -> Iterator[Path]:
    """Old ones that no process has open; those of this run's own port may be opened right now."""
    for path in MEMORY.glob(f"{_STEM}*"):
        status = path.lstat()
        old = time.time() - status.st_mtime > _ABANDONED_S
        own = path.name.startswith(_of_this_run())
        if old and not own and status.st_uid == os.getuid() and not _is_open(path):
            yield path


def _is_open(path: Path) -> bool:
    return any(str(path) in _maps(process) for process in Path("/proc").glob("[0-9]*"))


def _maps(process: Path) -> str:
    try:
        return (process / "maps").read_text()
    except OSError:  # it has ended, or is another user's
        return ""


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
