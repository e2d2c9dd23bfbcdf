"""What a run tells: progress with ETA on rank 0, metrics.jsonl always, trackers on request."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ptv2_scale.engine.prometheus import PrometheusFile
from ptv2_scale.engine.trackers import Trackers
from ptv2_scale.engine.trainer import StepResult
from ptv2_scale.runtime.appended import AppendedLines
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.metrics_file import METRICS
from ptv2_scale.runtime.rank_output import terminal_width
from ptv2_scale.runtime.verbosity import chosen

NOT_FINITE = "not_finite.jsonl"


def _unheard() -> suppress:
    """Where nobody reads standard error any more, or there is none, the run goes on."""
    return suppress(OSError, ValueError, AttributeError)


def _bar(total: int, done: int) -> Any:
    width = terminal_width()
    quiet = width is None
    # On a log file a redrawn bar is noise: one line every ten seconds.
    every = 10.0 if quiet else 0.5
    return tqdm(
        total=total, initial=done, unit="step", mininterval=every, maxinterval=every,
        ncols=100 if width is None else width - 1, ascii=quiet,
    )  # fmt: skip


class Reporter:
    """Rank 0's voice; on other ranks every call does nothing, and no call ends a run.

    Args:
        run: the run directory.
        speaks: whether this is rank 0.
        trackers: "tensorboard", or names that accelerate's trackers know.
        prometheus: file for Prometheus; None: there is to be none.
    """

    def __init__(
        self,
        run: Path,
        speaks: bool,
        trackers: Sequence[str] = (),
        prometheus: str | None = None,
    ) -> None:
        self._speaks, self._run = speaks, run
        self._metrics = AppendedLines(run / METRICS, self.say) if speaks else None
        self._trackers = Trackers(trackers if speaks else (), run, self.say)
        self._prometheus = None
        if speaks and prometheus is not None:
            self._prometheus = PrometheusFile(Path(prometheus), run.name, self.say)
        self._bar: Any = None

    def start(self, total: int, done: int) -> None:
        """Begin the trackers, and a progress bar: a bar only on a terminal, lines elsewhere.

        Raises:
            UserError: see `Trackers.start`.
        """
        self._trackers.start()
        if self._speaks:
            with _unheard():
                self._bar = _bar(total, done)

    def step(self, record: dict[str, Any]) -> None:
        """Note one step: its number, loss, learning rate and what else was measured."""
        self.record(record)
        if self._bar is not None:
            with _unheard():
                self._bar.set_postfix(loss=f"{record['loss']:.4f}", refresh=False)
                self._bar.update(1)

    def record(self, record: dict[str, Any]) -> None:
        """Write a record to metrics.jsonl and the trackers."""
        if self._metrics is None:
            return
        self._metrics.write(json.dumps(record))
        self._trackers.log(record)
        if self._prometheus is not None:
            self._prometheus.record(record)

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
            with (
                suppress(UserError),
                closing(AppendedLines(self._run / NOT_FINITE, self.say)) as own,
            ):
                own.write(json.dumps(note))

    def say(self, text: str) -> None:
        """Print a line above the progress bar, unless only results were asked for."""
        if self._speaks and chosen() != "quiet":
            with _unheard():
                tqdm.write(text, file=sys.stderr)

    def close(self) -> None:
        """End the bar, flush the files."""
        if self._bar is not None:
            with _unheard():
                self._bar.close()
        self._trackers.finish()
        if self._prometheus is not None:
            self._prometheus.finish()
        if self._metrics is not None:
            self._metrics.close()
