"""What a launch and the ranks that it starts know of each other, through the environment."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ptv2_scale.runtime.atomic import write_atomically
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.processes import Process, host_identity

HOST = "PTV2_SCALE_HOST"  # the name that the user knows this host by
_LAUNCH = "PTV2_SCALE_LAUNCH"  # another value each time, so that an old status is not taken for new
_LAUNCHER = "PTV2_SCALE_LAUNCHER"  # the process, as JSON
_RANKS = "PTV2_SCALE_RANKS"  # a folder of this host, with a file a rank


def new_name() -> str:
    """A name for one start of all ranks, which nobody else can guess."""
    return secrets.token_hex(8)


def host_name() -> str:
    """What to call this host: as the user does, else its own name."""
    return os.environ.get(HOST) or os.uname().nodename


@dataclass(frozen=True)
class Launch:
    """One host's share in a start of all ranks.

    Attributes:
        name: of this start alone, the same on all hosts.
        launcher: the process that starts this host's ranks.
        folder: in which its ranks say who they are; others cannot look into it.
    """

    name: str
    launcher: Process
    folder: Path

    @classmethod
    def new(cls, name: str, node: int) -> Launch:
        """A host's share, started by this process."""
        launcher = Process.here(os.getpid())
        assert launcher is not None
        return cls(name, launcher, private_folder(name, node))

    def variables(self) -> dict[str, str]:
        """What ranks find in their environment."""
        launcher = json.dumps(asdict(self.launcher))
        return {_LAUNCH: self.name, _LAUNCHER: launcher, _RANKS: str(self.folder)}

    @classmethod
    def found(cls) -> Launch | None:
        """The start that this process belongs to; None: of another launcher's, or none."""
        if _LAUNCH not in os.environ:
            return None
        launcher = Process(**json.loads(os.environ[_LAUNCHER]))
        return cls(os.environ[_LAUNCH], launcher, Path(os.environ[_RANKS]))

    def register(self, rank: int) -> None:
        """Say which process a rank of the launcher's host is."""
        process = Process.here(os.getpid())
        if process is None or process.host != self.launcher.host:
            return
        self._code_of(rank).unlink(missing_ok=True)  # of the one that this one stands in for
        write_atomically(self.folder / f"{rank}.json", json.dumps(asdict(process)))

    def leave(self, rank: int, code: int) -> None:
        """Say what a rank of the launcher's host ends with; launchers of ranks do not all tell."""
        if self.launcher.host == host_identity():
            with contextlib.suppress(OSError):  # the launch may have ended before
                self._code_of(rank).write_text(str(code))

    def codes(self) -> set[int]:
        """What the ranks of this host have ended with, so far."""
        return {int(path.read_text() or -1) for path in self.folder.glob("*.code")}

    def _code_of(self, rank: int) -> Path:
        return self.folder / f"{rank}.code"

    def registered(self) -> Iterator[Process]:
        """The ranks of this host that have said who they are."""
        for path in sorted(self.folder.glob("*.json")):
            yield Process(**json.loads(path.read_text()))


def private_folder(name: str, node: int) -> Path:
    """A host's folder for one start, made if it is not there; others cannot look into it.

    Args:
        name: of the start.
        node: number of the host; several may be one machine.

    Raises:
        UserError: something else has its name.
    """
    path = Path(tempfile.gettempdir()) / f"ptv2_scale.{os.getuid()}.{name}.{node}"
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    private = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700
    if not private or status.st_uid != os.getuid():
        raise UserError(f"{path}: not a private folder of this user's. Remove it.")
    return path
