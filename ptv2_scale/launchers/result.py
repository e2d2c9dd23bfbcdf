"""How a launch ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ptv2_scale.runtime.exit_codes import DONE, INTERRUPTED, INVALID_INPUT, SAVED

LaunchState = Literal["done", "invalid", "failed", "stopped", "submitted", "rendered"]

_STATES: dict[int, LaunchState] = {
    DONE: "done",
    INVALID_INPUT: "invalid",
    SAVED: "stopped",
    INTERRUPTED: "stopped",
}


@dataclass(frozen=True)
class LaunchResult:
    """How a launch ended.

    Attributes:
        exit_code: exit code of the run; see `ptv2_scale.runtime.exit_codes`.
        state: "done"; "invalid": the ranks or the hosts' check found the input wrong; "failed";
            "stopped" by a request; "submitted" as a batch job; "rendered": a dry run.
        run_directory: where the run is kept; of a job array, what the runs' names begin with.
        step: optimizer steps made, as far as the first host knows.
        reason: why it failed, and where to read more; empty where it did not.
        restarts: restarts that were made.
        job: number of the Slurm job; None: there is none.
    """

    exit_code: int
    state: LaunchState
    run_directory: Path
    step: int = 0
    reason: str = ""
    restarts: int = 0
    job: str | None = None


def state_of(exit_code: int) -> LaunchState:
    """The state that an exit code of a run stands for."""
    return _STATES.get(exit_code, "failed")
