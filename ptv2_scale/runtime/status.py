"""`RUN/status.json`: how a run stands, for launchers and people."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ptv2_scale.runtime.atomic import write_atomically
from ptv2_scale.runtime.errors import printable
from ptv2_scale.runtime.exit_codes import INVALID_INPUT
from ptv2_scale.runtime.rank_output import log_name

MOST_DETAIL = 8000  # characters
_TOLD = 10  # lines

State = Literal["running", "done", "stopped", "failed"]


@dataclass(frozen=True)
class Status:
    """How a run stands.

    Attributes:
        state: "running", "done", "stopped" by a request, or "failed".
        exit_code: that the run ends with; None while it runs.
        step: optimizer steps made.
        reason: why it stopped or failed, one line.
        detail: traceback or stack behind the reason.
        rank: that failed.
        launch: the start that wrote this, see `Launch`; None: of another launcher.
    """

    state: State
    exit_code: int | None
    step: int
    reason: str = ""
    detail: str = ""
    rank: int | None = None
    launch: str | None = None


def write_status(run: Path, status: Status) -> None:
    """Replace the run's status; what cannot be written (a full disk) is left out."""
    with contextlib.suppress(OSError):
        write_atomically(run / "status.json", json.dumps(asdict(status), indent=1) + "\n")


def read_status(run: Path) -> Status | None:
    """The run's status; None where there is none that can be read."""
    try:
        return Status(**json.loads((run / "status.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def last_words(status: Status, run: Path) -> str:
    """What a failed run ends with: the reason, what it comes from, and where to read more.

    Args:
        status: of the run.
        run: the run directory, for the log of a rank that left nothing else.
    """
    if status.state != "failed" or status.exit_code == INVALID_INPUT:
        return ""
    lines = [status.reason, *status.detail.splitlines()[-_TOLD:]]
    if status.rank is not None:
        log = run / "logs" / log_name(status.rank)
        if not status.detail:
            lines += [f"  {line}" for line in _end_of(log)]
        lines.append(f"log: {log}")
    return "\n".join(lines)


def _end_of(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - MOST_DETAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [printable(line) for line in text.splitlines()[-_TOLD:]]
