"""Trackers of a run's numbers, such as TensorBoard: what fails in one ends no run."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ptv2_scale.runtime.errors import UserError

# After a failure a tracker is left alone for so many times what its failing took.
_PAUSE = 20.0
# The argument that names a run, of trackers that put runs of one project side by side, and the
# variable by which their users name the project.
_PROJECTS = {"wandb": ("name", "WANDB_PROJECT"), "mlflow": ("run_name", "MLFLOW_EXPERIMENT_NAME")}
_PROJECT = "ptv2_scale"

Warn = Callable[[str], None]


class Tracker:
    """One of accelerate's trackers; it may fail, which is said once.

    Args:
        name: of it, which is its package's too.
        make: makes and starts accelerate's own.
        warn: hears of the first failure.
    """

    def __init__(self, name: str, make: Callable[[], Any], warn: Warn) -> None:
        self.name, self._warn = name, warn
        self._warned, self._rest = False, 0.0
        self._inner: Any = None
        self._attempt(lambda: setattr(self, "_inner", make()))

    def log(self, numbers: dict[str, float], step: int | None) -> None:
        """Pass numbers of a step on."""
        if self._inner is not None and time.monotonic() >= self._rest:
            self._attempt(lambda: self._inner.log(numbers, step=step))

    def finish(self) -> None:
        """Close it."""
        if self._inner is not None:
            self._attempt(lambda: self._inner.finish())

    def fail(self, error: BaseException) -> None:
        """Say once that it fails."""
        if not self._warned:
            self._warned = True
            said = (str(error).strip() or "no reason").splitlines()[0]
            self._warn(
                f"warning: trackers: '{self.name}' fails ({type(error).__name__}: {said});"
                " records are lost there, and metrics.jsonl has all of them"
            )

    def _attempt(self, action: Callable[[], object]) -> None:
        began = time.monotonic()
        try:
            action()
        except UserError:
            raise
        except Exception as error:
            now = time.monotonic()
            # A server that has gone answers only after long; steps would wait for that each time.
            self._rest = now + _PAUSE * (now - began)
            self.fail(error)


class Trackers:
    """All trackers of a run.

    Args:
        names: accelerate's: "tensorboard", "wandb" and so on.
        run: the run directory, which names the run.
        warn: hears, once a tracker, that it fails.
    """

    def __init__(self, names: Sequence[str], run: Path, warn: Warn) -> None:
        self._names, self._run, self._warn = names, run, warn
        self._opened: list[Tracker] = []
        self._hook = threading.excepthook

    def start(self) -> None:
        """Open all; not earlier than at the first step, for a refused run leaves none behind.

        Raises:
            UserError: there is no such tracker, or it is not installed.
        """
        self._opened = [_open(name, self._run, self._warn) for name in self._names]
        if self._opened:
            threading.excepthook = self._thread_failed

    def log(self, record: dict[str, Any]) -> None:
        """Pass the numbers of a record on."""
        numbers = {k: v for k, v in record.items() if isinstance(v, (int, float)) and k != "step"}
        for tracker in self._opened:
            tracker.log(numbers, record.get("step"))

    def finish(self) -> None:
        """Close all."""
        for tracker in self._opened:
            tracker.finish()
        if self._opened:
            threading.excepthook = self._hook

    def _thread_failed(self, found: threading.ExceptHookArgs) -> None:
        """Take what is raised in a tracker's own thread for that tracker's failure."""
        files = [frame.filename for frame in traceback.extract_tb(found.exc_traceback)]
        for tracker in self._opened:
            if found.exc_value and any(f"/{tracker.name}/" in file for file in files):
                tracker.fail(found.exc_value)
                return
        self._hook(found)


def _open(name: str, run: Path, warn: Warn) -> Tracker:
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind = LOGGER_TYPE_TO_CLASS.get(name)
    if kind is None:
        raise UserError(
            f"trackers: no tracker '{name}'. Known: {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}."
        )

    def make() -> Any:
        PartialState()  # accelerate's own logging, which its trackers use, refuses to work without
        try:
            tracker = _of_run(kind, name, run)
            if hasattr(tracker, "start"):
                tracker.start()
        except (ImportError, NameError) as error:
            raise UserError(
                f"trackers: '{name}' is not installed ({error}). Install it with pip."
            ) from None
        return tracker

    return Tracker(name, make, warn)


def _of_run(kind: Any, name: str, run: Path) -> Any:
    """A tracker of accelerate's, with the arguments by which its kind tells runs apart."""
    if kind.requires_logging_directory:
        return kind(name, logging_dir=str(run))  # in a folder of that name in the run directory
    if name in _PROJECTS:
        argument, variable = _PROJECTS[name]
        return kind(os.environ.get(variable, _PROJECT), **{argument: run.name})
    return kind(run.name)
