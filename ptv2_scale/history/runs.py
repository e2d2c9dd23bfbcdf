"""Run directories, found and read: what each run was, how it stands, and what it has reached."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from ptv2_scale.checkpoint.run_directory import is_in_use, is_run, stored_recipe
from ptv2_scale.history.outcome import Outcome, read_outcome
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.metrics_file import recorded_seconds
from ptv2_scale.runtime.status import Status, read_status

State = Literal["running", "ended", "stopped", "failed"]
KILLED = "its processes have gone without a word: killed, or on a host that was lost"


@dataclass(frozen=True)
class Run:
    """A run directory, read.

    Attributes:
        path: the directory.
        state: "running" while some process holds the directory's lock, "ended" with its result,
            "stopped" by a request with everything saved, else "failed".
        reason: why it was stopped or has failed, one line; empty: it has not.
        changed: when it last wrote its status, or its recipe, by the local clock.
        recipe: every key with its value; empty where `recipe.yaml` cannot be read.
        seconds: wall-clock time of all its processes until now; None: not known.
        outcome: what it has reached, or has so far.
    """

    path: Path
    state: State
    reason: str
    changed: datetime
    recipe: Mapping[str, Any]
    seconds: float | None
    outcome: Outcome

    @property
    def task(self) -> str:
        """Name of the task."""
        return str(self._of("task", "name"))

    @property
    def method(self) -> str:
        """Name of the method; recipes of 0.1.0 have prefixes without a name."""
        return str(self._of("prompt", "method", "prefix"))

    @property
    def backbone(self) -> str:
        """Name of the backbone, of a folder the last part."""
        name = str(self._of("backbone", "name"))
        return Path(name).name if os.path.isabs(name) or name.startswith(".") else name

    @property
    def score(self) -> float | None:
        """Of the best evaluation, or of the best one so far."""
        if self.outcome.score is not None:
            return self.outcome.score
        found = (value for _, value in self.outcome.curve)
        return max((value for value in found if isfinite(value)), default=None)

    def _of(self, section: str, key: str, default: str = "?") -> Any:
        found = self.recipe.get(section)
        return found.get(key, default) if isinstance(found, dict) else default


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """All runs that some folders are or have in them, in the order of folders and of names.

    Raises:
        UserError: a folder is not there.
    """
    paths = dict.fromkeys(path for folder in folders for path in _run_paths(folder))
    return [read_run(path) for path in paths]


def named_runs(paths: Sequence[Path]) -> list[Run]:
    """Runs by their directories, in the order in which they are named.

    Raises:
        UserError: one is no run's directory.
    """
    for path in paths:
        if not is_run(path):
            why = (
                "there is no such folder" if not path.exists() else "is not the directory of a run"
            )
            raise UserError(f"{path}: {why}. `ptv2-scale runs FOLDER` lists those in a folder.")
    return [read_run(path) for path in dict.fromkeys(paths)]


def _run_paths(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder. Name the one that your runs are in.")
    if is_run(folder):
        yield folder
        return
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith("."):
            yield from _run_paths(entry)


def read_run(path: Path) -> Run:
    """Read the directory of a run."""
    outcome = read_outcome(path)
    state, reason = _state(path, outcome)
    seconds = outcome.seconds if outcome.seconds is not None else recorded_seconds(path) or None
    recipe = stored_recipe(path) or {}
    return Run(path, state, reason, _changed(path), recipe, seconds, outcome)


def _state(path: Path, outcome: Outcome) -> tuple[State, str]:
    if is_in_use(path):
        return "running", ""
    status = read_status(path)
    if status is None:
        return ("ended", "") if outcome.score is not None else ("failed", KILLED)
    states: Mapping[str, State] = {"done": "ended", "stopped": "stopped", "failed": "failed"}
    return states.get(status.state, "failed"), _reason(status)


def _reason(status: Status) -> str:
    if status.state == "running":
        return KILLED
    return next(iter(status.reason.splitlines()), "")


def _changed(path: Path) -> datetime:
    times = [
        (path / name).stat().st_mtime
        for name in ("status.json", "recipe.yaml", ".lock")
        if (path / name).exists()
    ]
    return datetime.fromtimestamp(max(times, default=path.stat().st_mtime)).astimezone()
