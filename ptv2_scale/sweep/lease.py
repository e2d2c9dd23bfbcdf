"""A trial belongs to one process at a time: a lock that ends with the process that holds it.

The lock is the kernel's (`flock`), so that a process that was killed holds none. Hosts that share
the folder, but not its locks, see by the file's time whether its holder still lives.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.processes import host_identity

STALE_S = 120.0  # a holder on another host that has not renewed its lease for so long is dead
_BUSY = (errno.EACCES, errno.EAGAIN)


class Lease:
    """A lock that this process holds.

    Args:
        path: of the lock's file.
        descriptor: of the open file.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor

    @classmethod
    def take(cls, path: Path) -> Lease | None:
        """Hold a lock from now on; None: another process does.

        Raises:
            UserError: the folder has no locks, or cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}).") from None
        if not _locked(path, descriptor) or _held_elsewhere(path, descriptor):
            os.close(descriptor)
            return None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, host_identity().encode(), 0)
        return cls(path, descriptor)

    def renew(self) -> None:
        """Show other hosts that the holder lives."""
        os.utime(self._descriptor)

    def release(self) -> None:
        """Let other processes have it."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def is_held(path: Path) -> bool:
    """Whether some process holds a lock; where its file is not here, a process elsewhere does."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        # Shared: two that only ask are not in each other's way.
        return not _locked(path, descriptor, fcntl.LOCK_SH) or _held_elsewhere(path, descriptor)
    finally:
        os.close(descriptor)


def _locked(path: Path, descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise UserError(
            f"{path}: this file system has no locks ({error.strerror}), without which two processes"
            " could run one trial. Choose another folder for the sweep."
        ) from None
    return True


def _held_elsewhere(path: Path, descriptor: int) -> bool:
    holder = os.pread(descriptor, 4096, 0).decode(errors="replace")
    if holder in ("", host_identity()):
        return False
    clock = path.with_name(f".clock.{os.getpid()}")
    clock.touch()  # the file system's own time
    now = clock.stat().st_mtime
    clock.unlink(missing_ok=True)
    return now - os.fstat(descriptor).st_mtime < STALE_S
