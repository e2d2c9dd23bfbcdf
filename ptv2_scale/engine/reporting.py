"""What a run tells: progress with ETA on rank 0, metrics.jsonl always, trackers on request."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ptv2_scale.engine.trainer import StepResult
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.rank_output import terminal_width

NOT_FINITE = "not_finite.jsonl"


class Lines:
    """A file that lines are added to, each at once; losing some is no reason to stop a run.

    Args:
        path: of the file.

    Raises:
        UserError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._torn = path, False
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}).") from None

    def write(self, line: str) -> None:
        """Add a line; what cannot be written is left out, with one warning."""
        content = ("\n" if self._torn else "").encode() + line.encode() + b"\n"
        try:
            whole = self._file.write(content) == len(content)
        except OSError as error:
            whole = False
            if not self._torn:
                tqdm.write(f"warning: {self._path}: {error.strerror}; lines are lost", sys.stderr)
        self._torn = not whole

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Reporter:
    """Rank 0's voice; on other ranks every call does nothing.

    Args:
        run: the run directory.
        speaks: whether this is rank 0.
        trackers: "tensorboard", or names that accelerate's trackers know.
    """

    def __init__(self, run: Path, speaks: bool, trackers: Sequence[str] = ()) -> None:
        self._speaks, self._run = speaks, run
        self._metrics = Lines(run / "metrics.jsonl") if speaks else None
        self._trackers = _open_trackers(trackers, run) if speaks else []
        self._bar: Any = None

    def start(self, total: int, done: int) -> None:
        """Begin a progress bar over steps; a bar only on a terminal, lines elsewhere."""
        if self._speaks:
            width = terminal_width()
            quiet = width is None
            # On a log file a redrawn bar is noise: one line every ten seconds.
            every = 10.0 if quiet else 0.5
            self._bar = tqdm(
                total=total, initial=done, unit="step", mininterval=every, maxinterval=every,
                ncols=100 if width is None else width - 1, ascii=quiet,
            )  # fmt: skip

    def step(self, record: dict[str, Any]) -> None:
        """Note one step: its number, loss, learning rate and what else was measured."""
        self.record(record)
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{record['loss']:.4f}", refresh=False)
            self._bar.update(1)

    def record(self, record: dict[str, Any]) -> None:
        """Write a record to metrics.jsonl and the trackers."""
        if self._metrics is None:
            return
        self._metrics.write(json.dumps(record))
        numbers = {k: v for k, v in record.items() if isinstance(v, (int, float)) and k != "step"}
        for tracker in self._trackers:
            tracker.log(numbers, step=record.get("step"))

    def not_finite(self, result: StepResult, suspects: list[list[int]], policy: str) -> None:
        """Note a step whose loss or gradient was not finite, with the examples in question.

        Args:
            result: of the step.
            suspects: for each rank, the examples (rows of the training split, from 0) of its
                micro-batches with such a loss.
            policy: what is done about it.
        """
        found = sorted(index for rank in suspects for index in rank)
        ranks = [rank for rank, own in enumerate(suspects) if own]
        note = {"step": result.step, "examples": found, "ranks": ranks, "policy": policy}
        self.record({"event": "not_finite", **note})
        self.say(f"warning: step {result.step}: loss or gradient not finite ({policy})")
        if self._speaks:
            with suppress(OSError), (self._run / NOT_FINITE).open("a") as file:
                file.write(json.dumps(note) + "\n")

    def say(self, text: str) -> None:
        """Print a line above the progress bar."""
        if self._speaks:
            tqdm.write(text, file=sys.stderr)

    def close(self) -> None:
        """End the bar, flush the files."""
        if self._bar is not None:
            self._bar.close()
        for tracker in self._trackers:
            tracker.finish()
        if self._metrics is not None:
            self._metrics.close()


def _open_trackers(names: Sequence[str], run: Path) -> list[Any]:
    if not names:
        return []
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    opened: list[Any] = []
    for name in names:
        kind = LOGGER_TYPE_TO_CLASS.get(name)
        if kind is None:
            raise UserError(
                f"trackers: no tracker '{name}'. Known: {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}."
            )
        try:
            in_run = {"logging_dir": str(run)} if kind.requires_logging_directory else {}
            tracker = kind(run.name, **in_run)
            if hasattr(tracker, "start"):
                tracker.start()
        except (ImportError, NameError) as error:
            raise UserError(
                f"trackers: '{name}' is not installed ({error}). Install it with pip."
            ) from None
        opened.append(tracker)
    return opened
