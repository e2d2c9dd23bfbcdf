"""Sweeps of real ranks: processes killed, two that share one state, hosts, cells of all sorts."""

from __future__ import annotations

import csv
import os
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from cluster import Cluster
from other_packages import install, write_tagging_recipe
from points import at_length
from sweeping import RealSweep, end
from tiny import write_recipe

STEPS, KILLS = 32, 10
SWEEP = """
recipe: {recipe}
folder: {runs}
set: {{train.steps: {steps}, evaluate.every: 4, run: null}}
grid: {{train.lr: [0.01, 0.001]}}
launch: {launch}
"""

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe"), "bert", prompt={"dropout": 0.2})


@contextmanager
def sweep_in(folder: Path, text: str = SWEEP, **values: object) -> Iterator[RealSweep]:
    """A sweep with its file in a folder, whose processes do not outlive its test."""
    asked = RealSweep(folder / "sweep.yaml")
    known = {"runs": asked.runs, "steps": STEPS, "launch": "{at_once: 2, nproc: 1}"}
    asked.file.write_text(text.format(**known | values))
    try:
        yield asked
    finally:
        asked.stop()


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSweep]:
    """The sweep that nothing has interrupted."""
    with sweep_in(tmp_path_factory.mktemp("whole"), recipe=recipe) as asked:
        asked.must_succeed()
        assert [row[2:4] for row in asked.table()] == [("done", "")] * 2
        yield asked


@at_length
def test_processes_of_trials_are_killed_at_random_moments(
    recipe: Path, whole: RealSweep, tmp_path: Path
) -> None:
    """Each run goes on from its checkpoint by itself, or has failed and does so by `retry`."""
    source, killed = random.Random(8), list[str]()
    with sweep_in(tmp_path, recipe=recipe) as asked:
        process: subprocess.Popen[str] | None = asked.start()
        while process is not None:
            while len(killed) < KILLS and _kill_one(asked, process, source, killed):
                pass
            process = _retried(asked, process)
        assert len(killed) >= KILLS // 2, killed
        assert asked.table() == whole.table()
        assert asked.completed() == whole.completed()
        # Nothing began anew that had a checkpoint, of which every fourth step left one.
        assert any(step > 0 for _, step in asked.events("resumed"))
        assert len(asked.events("step")) <= len(whole.events("step")) + 4 * len(killed)


def _kill_one(
    asked: RealSweep, process: subprocess.Popen[str], source: random.Random, killed: list[str]
) -> bool:
    """Kill a process of a trial, every other time in the middle of training; False: none runs."""
    made, in_training = len(asked.events("step")), len(killed) % 2 == 0
    time.sleep(source.uniform(0, 4))
    while process.poll() is None:
        found = list(asked.processes())
        if found and (not in_training or len(asked.events("step")) > made):
            kind, victim = source.choice(found)
            victim.kill()
            killed.append(kind)
            return True
        time.sleep(0.05)
    return False


def _retried(asked: RealSweep, process: subprocess.Popen[str]) -> subprocess.Popen[str] | None:
    """The process that tries again what has failed; None: nothing has."""
    code, text = end(process)
    failed = [row for row in asked.table() if row[2] == "failed"]
    assert code == (3 if failed else 0), text
    assert all(row[3] for row in failed), failed  # why
    return asked.start("retry") if failed else None


@at_length
def test_two_processes_share_one_state(recipe: Path, whole: RealSweep, tmp_path: Path) -> None:
    with sweep_in(tmp_path, recipe=recipe, launch="{at_once: 1, nproc: 1}") as asked:
        ended = [end(process) for process in (asked.start(), asked.start())]
        assert [code for code, _ in ended] == [0, 0], ended
        assert asked.table() == whole.table()
        assert asked.completed() == whole.completed()
        # Both have run one, and none is made by both.
        done = [re.findall("^done: all [|] (.*)$", text, re.MULTILINE) for _, text in ended]
        assert sorted(done) == [["train.lr=0.001,seed=11"], ["train.lr=0.01,seed=11"]]
        assert len(asked.events("step")) == 2 * STEPS


@at_length
def test_over_hosts_two_trials_run_at_once_each_on_its_own(
    recipe: Path, whole: RealSweep, cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    hosts = cluster(2)
    launch = f"{{hostfile: {hosts.hostfile}, ssh_config: {hosts.ssh_config}}}"
    seen = list[dict[str, str]]()
    with sweep_in(tmp_path, recipe=recipe, launch=launch) as asked:
        process = asked.start()
        while process.poll() is None:
            ranks_now = [one for kind, one in asked.processes() if kind == "rank"]
            seen.append(dict(filter(None, map(_where, ranks_now))))
            time.sleep(0.2)
        code, text = end(process)
        assert code == 0, text
        assert asked.table() == whole.table()
    hosts_of = {run: {found[run] for found in seen if run in found} for run in set().union(*seen)}
    assert [len(found) for found in hosts_of.values()] == [1, 1]  # a run is on one host ...
    assert any(len(set(found.values())) == 2 for found in seen)  # ... at once, on two
    here = os.readlink("/proc/self/ns/uts")
    assert all(here not in found for found in hosts_of.values())


def _where(process: psutil.Process) -> tuple[str, str] | None:
    """Run of a rank, and its host; None: it has just ended."""
    try:
        (run,) = [word for word in process.cmdline() if word.startswith('run="')]
        return run, os.readlink(f"/proc/{process.pid}/ns/uts")
    except (psutil.Error, OSError, ValueError):
        return None


CELLS_OF_ALL_SORTS = """
recipe: {recipe}
folder: {runs}
set: {{train.steps: 8, run: null}}
axes:
  cell:
    diverges: {{train.lr: 1.0e+30}}
    crashes: {{task.breaks: score raises}}
    not a number: {{task.breaks: score is nan}}
    trains: {{task.breaks: never}}
launch: {{at_once: 2, nproc: 1, max_restarts: 1}}
"""


@at_length
def test_cells_that_break_are_reported_and_all_others_end(tmp_path: Path) -> None:
    install("broken_tasks", tmp_path / "site")  # a kind of task that another package brings
    recipe = write_tagging_recipe(tmp_path, "bert", "breaking_labels")
    with sweep_in(tmp_path, CELLS_OF_ALL_SORTS, recipe=recipe) as asked:
        asked.paths = (str(tmp_path / "site"),)
        code, text = asked.run()
        assert code == 3, text
        status = asked.must_succeed("status")
        asked.must_succeed("report")
    with (asked.runs / "report" / "trials.csv").open() as file:
        rows = {row["cell"]: row for row in csv.DictReader(file)}
    reasons = {
        "diverges": "step 2: the loss or its gradient is not finite. Lower train.lr",
        "crashes": "ZeroDivisionError: no rows of this tag",
        "not a number": "token_accuracy is nan",
        "trains": "",
    }
    page = (asked.runs / "report" / "report.html").read_text()
    assert list(rows) == list(reasons)
    for cell, reason in reasons.items():
        assert rows[cell]["reason"].startswith(reason)
        assert (rows[cell]["state"] == "done") == (not reason)
        assert not reason or f"failed: {cell} | seed=11: {reason}" in status
        assert reason in page
    assert 0 < float(rows["trains"]["score"]) <= 1
    best = float(rows["trains"]["score"])
    assert f"1 of 4 done, 0 running, 3 failed, best token_accuracy {best:.4f} (trains)" in status
    for cell in ("diverges", "not a number"):
        assert f"diverged: {cell} | seed=11: " in status
