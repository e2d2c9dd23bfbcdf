"""What a launch and the ranks that it starts know of each other, through the environment."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ptv2_scale.processes import Process

_LAUNCH = "PTV2_SCALE_LAUNCH"  # another value each time, so that an old status is not taken for new
_LAUNCHER = "PTV2_SCALE_LAUNCHER"  # the process, as JSON
_RANKS = "PTV2_SCALE_RANKS"  # a folder of this host, with a file a rank


@dataclass(frozen=True)
class Launch:
    """One start of all ranks.

    Attributes:
        name: of this start alone.
        launcher: the process that started it.
        ranks: folder in which ranks of the launcher's host say who they are.
    """

    name: str
    launcher: Process
    ranks: Path

    @classmethod
    def new(cls, ranks: Path) -> Launch:
        """A start by this process."""
        launcher = Process.here(os.getpid())
        assert launcher is not None
        return cls(secrets.token_hex(8), launcher, ranks)

    def variables(self) -> dict[str, str]:
        """What ranks find in their environment."""
        launcher = json.dumps(asdict(self.launcher))
        return {_LAUNCH: self.name, _LAUNCHER: launcher, _RANKS: str(self.ranks)}

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
        unfinished = self.ranks / f".{rank}"
        unfinished.write_text(json.dumps(asdict(process)))
        unfinished.replace(self.ranks / f"{rank}.json")

    def registered(self) -> Iterator[Process]:
        """The ranks of this host that have said who they are."""
        for path in sorted(self.ranks.glob("*.json")):
            yield Process(**json.loads(path.read_text()))
