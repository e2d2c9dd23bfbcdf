"""`ptv2-scale sweep` with launches that are played: a run of some steps that can be resumed.

    python sweep_worker.py SWEEP.yaml [retry]

A run keeps its step in its directory, as a checkpoint does; its score is a function of its recipe.
`launches.jsonl` beside the sweep file has a line for each start and each end.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from ptv2_scale.cli import main
from ptv2_scale.config.locate import load_run
from ptv2_scale.launchers.events import OnEvent, OutputLine, StopRequest
from ptv2_scale.launchers.options import LaunchOptions
from ptv2_scale.launchers.result import LaunchResult
from ptv2_scale.runtime.atomic import write_atomically
from ptv2_scale.runtime.status import Status, write_status
from ptv2_scale.sweep import planning
from ptv2_scale.sweep.runners import launched

STEP_S = 0.02


def score_of(lr: float, seed: int) -> float:
    """Best at 0.01."""
    return 1 / (1 + abs(lr - 0.01)) - seed / 1000


class Played:
    """Launches that take no ranks.

    Args:
        log: file of all starts and ends.
    """

    def __init__(self, log: Path) -> None:
        self.log = log

    def note(self, **what: Any) -> None:
        with self.log.open("a") as file:
            file.write(json.dumps({**what, "process": os.getpid()}) + "\n")

    def __call__(self, options: LaunchOptions, heard: OnEvent, stop: StopRequest) -> LaunchResult:
        config, run = load_run(options.recipe, options.overrides)
        run.mkdir(parents=True, exist_ok=True)
        lock = os.open(run / ".lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # two at once: BlockingIOError
        try:
            return self._train(config, run, heard, stop)
        finally:
            os.close(lock)

    def _train(self, config: Any, run: Path, heard: OnEvent, stop: StopRequest) -> LaunchResult:
        kept, total, lr = run / "kept", config.train.steps, config.train.lr
        step = int(kept.read_text()) if kept.exists() else 0
        self.note(event="start", run=str(run), step=step)
        while step < total:
            if stop.signals:
                write_status(run, Status("stopped", 75, step, "SIGTERM"))
                return LaunchResult(75, "stopped", run, step)
            time.sleep(STEP_S)
            step += 1
            write_atomically(kept, str(step))
            if lr > 1 and step == 2:
                write_status(run, Status("failed", 3, step, "ValueError: this recipe crashes"))
                heard(OutputLine("stderr", "ptv2-scale: it crashed\n"))
                self.note(event="failed", run=str(run))
                return LaunchResult(3, "failed", run, step, "ValueError: this recipe crashes")
        score = float("nan") if lr == 0.5 else score_of(lr, config.train.seed)
        result = {
            "metric": "accuracy", "value": score, "trivial": 0.5, "trivial_answer": "yes",
            "best_step": step, "steps": step, "seconds": 1.0, "peak_memory_bytes": 1,
            "trained_parameters": 2, "backbone_parameters": 3,
        }  # fmt: skip
        write_status(run, Status("done", 0, step))
        write_atomically(run / "result.json", json.dumps(result))
        self.note(event="done", run=str(run))
        return LaunchResult(0, "done", run, step)


if __name__ == "__main__":
    sweep_file = Path(sys.argv[1])
    launched.launch = Played(sweep_file.with_name("launches.jsonl"))  # type: ignore[assignment]
    planning.plan_cell = lambda cell, launch, on_gpu: planning.CellPlan(1, 2, 3)
    sys.exit(main(["sweep", *sys.argv[2:], str(sweep_file)]))
