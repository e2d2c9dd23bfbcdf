"""A sweep in processes of its own with real ranks, the processes of its trials, and its end."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import psutil
import ranks
from hosted import cmdline

from ptv2_scale.launchers.spec import AGENT
from ptv2_scale.sweep.api import Sweep
from ptv2_scale.sweep.studies import KEY


@dataclass
class RealSweep:
    """A sweep whose runs are in the folder `runs` beside its file.

    Attributes:
        file: the sweep file.
        paths: more folders of Python's path.
    """

    file: Path
    paths: tuple[str, ...] = ()
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def runs(self) -> Path:
        return self.file.with_name("runs")

    def start(self, *words: str) -> subprocess.Popen[str]:
        env = ranks.no_place()
        env["PYTHONPATH"] = os.pathsep.join((*self.paths, env["PYTHONPATH"]))
        process = subprocess.Popen(
            [sys.executable, "-m", "ptv2_scale", "sweep", *words, str(self.file)],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._started.append(process)
        return process

    def stop(self) -> None:
        """End all processes; what they have started notices."""
        for process in self._started:
            process.kill()
            process.communicate()

    def run(self, *words: str) -> tuple[int, str]:
        """Exit code and all that is printed."""
        return end(self.start(*words))

    def must_succeed(self, *words: str) -> str:
        code, text = self.run(*words)
        assert code == 0, text
        return text

    def processes(self) -> Iterator[tuple[str, psutil.Process]]:
        """Those of trials that run now: "rank", its "launcher", and the "agent" above both."""
        for process in psutil.process_iter():
            line = cmdline(process)
            if any(word.startswith(f'run="{self.runs}{os.sep}') for word in line):
                yield _kind(line), process

    def table(self) -> list[tuple[Any, ...]]:
        """Each run: how it ended, its score, its steps, and what it has trained, to the bit."""
        records = Sweep.read(self.file).state().load()
        return [
            (one.cell, one.name, one.state, one.reason, one.score, one.outcome.steps,
             digest(one.run))
            for one in records
        ]  # fmt: skip

    def completed(self) -> Counter[str]:
        """How often each run is done, by Optuna itself."""
        storage = f"sqlite:///{self.runs}/sweep.db"
        return Counter(
            f"{name}: {trial.user_attrs[KEY]}"
            for name in optuna.get_all_study_names(storage)
            for trial in optuna.load_study(study_name=name, storage=storage).trials
            if trial.state == optuna.trial.TrialState.COMPLETE
        )

    def events(self, kind: str) -> list[tuple[str, int]]:
        """Run and step of all events of a kind, of all runs."""
        return [
            (path.parent.name, event["step"])
            for path in sorted(self.runs.glob("*/*/metrics.jsonl"))
            for line in path.read_text().splitlines()
            # The last one may be half there.
            if line.endswith("}") and (event := json.loads(line))["event"] == kind
        ]


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and output of a process, once it has ended."""
    text, _ = process.communicate(timeout=900)
    return process.returncode, text


def digest(run: Path) -> str | None:
    """Of a run's final prefix and head; None: it has none."""
    path = run / "export" / "prompt.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _kind(line: list[str]) -> str:
    if any(word.startswith("--local_rank") for word in line):
        return "rank"
    return "agent" if AGENT in line else "launcher"
