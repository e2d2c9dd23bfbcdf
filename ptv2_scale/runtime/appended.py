"""A file of JSON lines that a run adds to: what a crash or a full disk has cut is taken out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from ptv2_scale.runtime.errors import UserError

_BLOCK = 1 << 16  # bytes


class AppendedLines:
    """A file that lines are added to, each at once; losing some is no reason to stop a run.

    Args:
        path: of the file.
        warn: hears, once, that lines are lost.

    Raises:
        UserError: it cannot be opened.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path, self._warn = path, warn
        self._torn, self._warned = True, False  # torn: by a process before, perhaps
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}).") from None

    def write(self, line: str) -> None:
        """Add a line; what cannot be written is left out, with one warning."""
        try:
            if self._torn:
                repair_tail(self._file.fileno())
            content = line.encode() + b"\n"
            self._torn, reason = self._file.write(content) != len(content), "no space left"
        except OSError as error:
            self._torn, reason = True, error.strerror or str(error)
        if self._torn and not self._warned:
            self._warned = True
            self._warn(f"warning: {self._path}: {reason}; lines are lost")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def repair_tail(descriptor: int) -> None:
    """Make a file of JSON lines end with a whole one: finish it, or take the beginning of one out.

    Args:
        descriptor: of a file that is read and appended to.

    Raises:
        OSError: it cannot be read or written.
    """
    size = os.fstat(descriptor).st_size
    tail = _last_line(descriptor, size)
    if not tail:
        return
    try:
        json.loads(tail)
    except ValueError:
        os.ftruncate(descriptor, size - len(tail))
    else:
        os.write(descriptor, b"\n")


def _last_line(descriptor: int, size: int) -> bytes:
    """What stands behind the last end of a line."""
    tail, start = b"", size
    while start and b"\n" not in tail:
        length = min(_BLOCK, start)
        start -= length
        tail = os.pread(descriptor, length, start) + tail
    return tail.rpartition(b"\n")[2]
