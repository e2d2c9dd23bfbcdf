"""Processes of this host, told apart from later ones of the same number."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process of this host, told apart from a later one of the same number.

    Attributes:
        pid: its number.
        started: clock ticks after boot.
        host: where numbers of processes mean the same.
    """

    pid: int
    started: int
    host: str

    @classmethod
    def here(cls, pid: int) -> Process | None:
        """A process by number; None where there is none."""
        started = _started(pid)
        return None if started is None else cls(pid, started, host_identity())

    def alive(self) -> bool:
        """Whether it is there; processes of other hosts always count as alive."""
        return self.host != host_identity() or _started(self.pid) == self.started

    def signal(self, number: int) -> None:
        """Send it a signal, if it is alive and of this host."""
        if self.host == host_identity() and self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def host_identity() -> str:
    """Equal for two processes exactly where they can signal each other by number."""
    return f"{os.uname().nodename}/{os.stat('/proc/self/ns/pid').st_ino}"


def _started(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
