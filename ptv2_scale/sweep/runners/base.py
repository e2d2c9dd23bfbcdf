"""What ways to run trials have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from ptv2_scale.runtime.exit_codes import DONE
from ptv2_scale.runtime.status import read_status
from ptv2_scale.sweep.state import Claimed, Ending

Ended = tuple[Claimed, Ending]


class Runner(ABC):
    """Runs trials, each as a launch of its own.

    Attributes:
        at_once: trials that may run at the same time.
    """

    at_once: int

    @abstractmethod
    def start(self, trials: Sequence[Claimed]) -> None:
        """Start trials, or go on with those that were begun.

        Raises:
            UserError: nothing can be started so.
        """

    @abstractmethod
    def ended(self) -> list[Ended]:
        """Trials that have ended since this was asked last, and how."""

    @abstractmethod
    def prune(self, trial: Claimed) -> None:
        """Ask a trial that runs to save and end: it is among the `ended`, as pruned."""

    @abstractmethod
    def stop(self) -> None:
        """Ask what runs to save and end; soon, all are among the `ended`."""


def log_of(run: Path) -> Path:
    """The file of all that a trial's launches print, beside its run directory."""
    return run.with_name(f"{run.name}.log")


def is_done(run: Path) -> bool:
    """Whether a run has come to its end, with a result."""
    status = read_status(run)
    return status is not None and status.exit_code == DONE and (run / "result.json").is_file()


def reason_of(run: Path, otherwise: str) -> str:
    """The last error of a run that failed, one line.

    Args:
        run: the run directory.
        otherwise: what its launch has said, where the run has left no word.
    """
    status = read_status(run)
    if status is not None and status.state == "failed" and status.reason:
        return status.reason
    lines = [line.strip() for line in otherwise.splitlines() if line.strip()]
    return lines[0] if lines else "no word of why; see its log"
