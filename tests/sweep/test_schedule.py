"""Sweeps of played launches: killed, stopped, shared by two processes, with runs that fail."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from points import EVERYTHING
from ranks import no_place
from sweep_worker import score_of

from ptv2_scale.sweep.api import Sweep
from ptv2_scale.sweep.records import TrialRecord

WORKER = Path(__file__).parents[1] / "support" / "sweep_worker.py"
Write = Callable[..., Path]


@dataclass
class Processes:
    """Processes of one sweep."""

    file: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *words: str) -> subprocess.Popen[str]:
        argv = [sys.executable, str(WORKER), str(self.file), *words]
        process = subprocess.Popen(
            argv, env=no_place(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.started.append(process)
        return process

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        text, _ = process.communicate(timeout=500)
        return process.returncode, text

    def run(self, *words: str) -> tuple[int, str]:
        return self.end(self.start(*words))

    def launches(self) -> list[dict[str, Any]]:
        path = self.file.with_name("launches.jsonl")
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def wait_for(self, count: int, process: subprocess.Popen[str]) -> None:
        """Wait until so many launches have begun, or the process has ended."""
        until = time.monotonic() + 400
        while (
            process.poll() is None
            and sum(one["event"] == "start" for one in self.launches()) < count
        ):
            assert time.monotonic() < until
            time.sleep(0.01)

    def ends(self) -> Counter[str]:
        """How often each run came to an end."""
        return Counter(one["run"] for one in self.launches() if one["event"] != "start")

    def table(self) -> list[tuple[Any, ...]]:
        """What an uninterrupted sweep and this one must have in common."""
        return sorted(map(_row, Sweep.read(self.file).state().load()))


def _row(one: TrialRecord) -> tuple[Any, ...]:
    return one.cell, one.name, one.state, one.reason, one.score, one.outcome.steps


def expected(steps: int, labels: tuple[str, ...] = ("head only", "prefix")) -> list[Any]:
    found = [
        (label, f"train.lr={lr:g} seed=11", "done", "", score_of(lr, 11), steps)
        for label in labels
        for lr in (0.01, 0.001)
    ]
    return sorted(found)


def test_killed_again_and_again_nothing_is_lost_or_run_twice(write: Write) -> None:
    processes = Processes(write(**{"train.steps: 5": "train.steps: 40"}))
    source, kills = random.Random(8), 10 if EVERYTHING else 2
    for _ in range(kills):
        process = processes.start()
        begun = sum(one["event"] == "start" for one in processes.launches())
        processes.wait_for(begun + source.choice((1, 2)), process)
        time.sleep(source.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        processes.end(process)
    code, text = processes.run()
    assert code == 0, text
    assert processes.table() == expected(40)
    assert set(processes.ends().values()) == {1}
    # What was begun went on where it was killed.
    resumed = [one["step"] for one in processes.launches() if one["event"] == "start"]
    assert sum(step > 0 for step in resumed) >= 1


def test_two_processes_share_a_sweep_and_the_rest_of_one_that_dies(write: Write) -> None:
    processes = Processes(
        write(**{"train.steps: 5": "train.steps: 60", "at_once: 2": "at_once: 1"})
    )
    dying, other = processes.start(), processes.start()
    processes.wait_for(2, other)
    dying.send_signal(signal.SIGKILL)
    processes.end(dying)
    code, text = processes.end(other)
    assert code == 0, text
    assert processes.table() == expected(60)
    assert set(processes.ends().values()) == {1}
    began = {one["process"] for one in processes.launches() if one["event"] == "start"}
    assert began <= {dying.pid, other.pid}


def test_stopped_it_saves_and_goes_on(write: Write) -> None:
    processes = Processes(write(**{"train.steps: 5": "train.steps: 50"}))
    process = processes.start()
    processes.wait_for(2, process)
    process.send_signal(signal.SIGTERM)
    code, text = processes.end(process)
    assert (code, text.splitlines()[-1]) == (
        75,
        "ptv2-scale: stopped, with everything saved. Run it again to go on.",
    )
    assert processes.run()[0] == 0
    assert processes.table() == expected(50)
    assert set(processes.ends().values()) == {1}


def test_runs_that_fail_are_told_and_all_others_end(write: Write) -> None:
    path = write(
        **{"[0.01, 0.001]": "[0.01, 0.5, 2.0]", "    head only: {prompt: {method: none}}\n": ""}
    )
    processes = Processes(path)
    code, text = processes.run()
    assert code == 3
    reasons = {name: (state, reason) for _, name, state, reason, *_ in processes.table()}
    assert reasons == {
        "train.lr=0.01 seed=11": ("done", ""),
        "train.lr=0.5 seed=11": ("failed", "accuracy is nan"),
        "train.lr=2 seed=11": ("failed", "ValueError: this recipe crashes"),
    }
    assert "failed: prefix | train.lr=2 seed=11: ValueError: this recipe crashes" in text
    assert "diverged: prefix | train.lr=0.5 seed=11" in text
    # Run again on request alone; it goes on behind the step at which it crashed, and ends well.
    # Of the one whose metric is NaN nothing is left to run.
    asked = Sweep.read(path)
    assert asked.state().claim(asked.cells) is None
    code, text = processes.run("retry")
    assert (code, "2 failed trials wait again" in text) == (3, True)
    assert sorted(processes.ends().values()) == [1, 1, 2]
    states = {name: state for _, name, state, *_ in processes.table()}
    assert states == {
        name: "done" if "2 " in name or "0.01" in name else "failed" for name in states
    }
