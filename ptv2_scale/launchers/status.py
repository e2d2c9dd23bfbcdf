"""`RUN/status.json`: how a run stands, for launchers and people."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

State = Literal["running", "done", "stopped", "failed"]


@dataclass(frozen=True)
class Status:
    """How a run stands.

    Attributes:
        state: "running", "done", "stopped" by a request, or "failed".
        exit_code: that the run ends with; None while it runs.
        step: optimizer steps made.
        reason: why it stopped or failed.
        launch: the start that wrote this, see `Launch`; None: of another launcher.
    """

    state: State
    exit_code: int | None
    step: int
    reason: str = ""
    launch: str | None = None


def write_status(run: Path, status: Status) -> None:
    """Replace the run's status; what cannot be written (a full disk) is left out."""
    unfinished = run / f".status.{os.getpid()}"
    with contextlib.suppress(OSError):
        unfinished.write_text(json.dumps(asdict(status), indent=1) + "\n")
        unfinished.replace(run / "status.json")


def read_status(run: Path) -> Status | None:
    """The run's status; None where there is none that can be read."""
    try:
        return Status(**json.loads((run / "status.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
