"""A folder of what a process needs while it runs; the next one removes it after a kill -9."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STEM = "ptv2_scale-"


class ScratchFolder:
    """A new folder of this process's own, in one that several processes may share.

    It is locked for as long as the process lives. Making one removes those that nobody has locked:
    their processes were killed.

    Args:
        parent: the shared folder; it is made if missing.

    Attributes:
        path: the new folder.
    """

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        with _alone(parent):
            for one in parent.glob(f"{_STEM}*"):
                _remove_abandoned(one)
            self.path = Path(tempfile.mkdtemp(prefix=_STEM, dir=parent))
            self._handle: int | None = os.open(self.path, os.O_RDONLY)
            _lock(self._handle, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._handle is not None:  # its number may be another file's by the second time
            os.close(self._handle)
            self._handle = None


@contextmanager
def _alone(parent: Path) -> Iterator[None]:
    """Be the only process that makes or removes folders there."""
    handle = os.open(parent, os.O_RDONLY)
    try:
        _lock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove_abandoned(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # another user's
        return
    try:
        if _lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def _lock(handle: int, how: int) -> bool:
    """Whether it is locked now; a file system without locks never says so."""
    try:
        fcntl.flock(handle, how)
    except OSError:
        return False
    return True
