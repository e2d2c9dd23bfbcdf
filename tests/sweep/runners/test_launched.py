"""A sweep of real ranks: killed in the middle and begun again, against the same runs by `train`."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import ranks
from hosted import Run, cmdline
from points import EVERYTHING
from tiny import write_recipe

from ptv2_scale.launchers.api import open_request
from ptv2_scale.launchers.backends.local import LocalHosts
from ptv2_scale.launchers.events import OnEvent, StopRequest
from ptv2_scale.launchers.options import LaunchOptions
from ptv2_scale.launchers.result import LaunchResult
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.sweep.api import Sweep
from ptv2_scale.sweep.config import Launch
from ptv2_scale.sweep.runners import launched
from ptv2_scale.sweep.runners.base import log_of
from ptv2_scale.sweep.runners.launched import on_hostfile, on_this_host

STEPS = 16
SWEEP = f"""
recipe: recipe.yaml
folder: runs
set: {{train.steps: {STEPS}, evaluate.every: 4, run: null}}
axes:
  method:
    prefix: {{prompt.length: 4}}
launch: {{at_once: 2, nproc: 1}}
"""
MORE = """    head only: {prompt: {method: none}}
grid: {train.lr: [0.01, 0.001]}
launch:"""


def start(folder: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "ptv2_scale", "sweep", "sweep.yaml"]
    return subprocess.Popen(
        argv, cwd=folder, env=ranks.no_place(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [10 if EVERYTHING else 1])
def test_a_sweep_that_is_killed_ends_with_the_same_bytes(
    kills: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_recipe(tmp_path, "bert", prompt={"dropout": 0.2})
    text = SWEEP.replace("launch:", MORE) if EVERYTHING else SWEEP
    (tmp_path / "sweep.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    asked = Sweep.read(Path("sweep.yaml"))
    planned = [(cell, one) for cell in asked.cells for one in cell.planned]
    runs = [Run(asked.file.folder / cell.folder / one.folder, ()) for cell, one in planned]
    for number in range(1, kills + 1):
        process = start(tmp_path)
        if number == 1:
            kill_rank(process, runs[0])  # the sweep goes on, and its launch starts another one
        runs[number % len(runs)].wait_for(min(5 + number, STEPS), timeout=300)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    text, _ = start(tmp_path).communicate(timeout=400)
    records = asked.state().load()
    assert [(one.state, one.outcome.steps) for one in records] == [("done", STEPS)] * len(runs), (
        text
    )
    for (cell, one), run in zip(planned, runs, strict=True):
        words = cell.overrides(one.params or {}, 11, run.path)[:-1]
        whole = Run(tmp_path / f"{run.path.name}-{cell.folder}", ("recipe.yaml", *words))
        whole.here(1)
        assert run.result() == whole.result()
        assert log_of(run.path).read_text().count("resumed") <= kills + 1


def kill_rank(process: subprocess.Popen[str], run: Run) -> None:
    """Kill -9 of a run's rank behind its first checkpoint, and wait until it goes on there."""
    run.wait_for(5, timeout=300)
    below = psutil.Process(process.pid).children(recursive=True)
    (rank,) = [one for one in below if is_rank_of(run, cmdline(one))]
    rank.kill()
    until = time.monotonic() + 300
    while "resumed from" not in log_of(run.path).read_text():
        assert time.monotonic() < until, log_of(run.path).read_text()
        time.sleep(0.05)
    assert "the run failed after step" in log_of(run.path).read_text()


def is_rank_of(run: Run, line: list[str]) -> bool:
    return "--local_rank=0" in line and f'run="{run.path}"' in line


def options(settings: Launch, folder: Path) -> list[LaunchOptions]:
    runner = on_hostfile(settings, folder) if settings.hostfile else on_this_host(settings)
    assert runner.at_once == len(runner.places)
    return [place(runner.options) for place in runner.places]


@pytest.mark.parametrize(
    ("shown", "settings", "dealt"),
    [
        ("0,1,2,3", {"at_once": 2}, [(2, "0,1"), (2, "2,3")]),
        ("4,5,6,7", {"at_once": 3, "nproc": 1}, [(1, "4"), (1, "5"), (1, "6")]),
        ("0,1", {"at_once": 3, "nproc": 1}, [(1, "0"), (1, "1"), (1, "0")]),
        ("0,1", {}, [(2, "0,1")]),
        ("", {"at_once": 2}, [(1, None), (1, None)]),
    ],
)
def test_devices_are_dealt_out_among_trials(
    shown: str,
    settings: dict[str, int],
    dealt: list[tuple[int, str | None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    found = options(Launch.model_validate(settings), tmp_path)
    assert [(one.nproc, one.devices) for one in found] == dealt


def test_hosts_are_dealt_out_among_trials(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("".join(f"n{number} slots={number + 1}\n" for number in range(5)))
    settings = Launch(hostfile=str(path), hosts=2)
    found = [one.hostfile.read_text() for one in options(settings, tmp_path) if one.hostfile]
    assert found == ["n0 slots=1\nn1 slots=2\n", "n2 slots=3\nn3 slots=4\n"]
    with pytest.raises(UserError, match="hosts: 5 hosts, and launch.hosts is 6"):
        on_hostfile(Launch(hostfile=str(path), hosts=6), tmp_path)


def test_a_run_that_is_pruned_or_stopped_saves_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sweep.yaml").write_text(
        f"recipe: demo\nfolder: {tmp_path}/runs\nseeds: [1, 2]\nlaunch: {{at_once: 2, nproc: 1}}\n"
    )
    asked = Sweep.read(tmp_path / "sweep.yaml")
    scheduler = asked.scheduler(lambda state: lambda trial, ending: None)
    started, saved = threading.Semaphore(0), []

    def until_stopped(options: LaunchOptions, heard: OnEvent, stop: StopRequest) -> LaunchResult:
        started.release()
        while not stop.signals:
            time.sleep(0.01)
        saved.append(options.overrides[-1])
        return LaunchResult(75, "stopped", Path())

    monkeypatch.setattr(launched, "launch", until_stopped)
    trials = [scheduler.state.claim(asked.cells) for _ in range(2)]
    found = [one for one in trials if one is not None]
    runner = scheduler.runner
    runner.start(found)
    for _ in found:  # one that is stopped before it runs has nothing to save
        assert started.acquire(timeout=60)
    runner.prune(found[0])
    ended: dict[int, str] = {}
    while len(ended) < 2:
        ended |= {trial.trial: ending.state for trial, ending in runner.ended()}
        if ended:
            runner.stop()
    assert ended == {found[0].trial: "pruned", found[1].trial: "interrupted"}
    assert len(saved) == 2
    assert runner.at_once == 2


def test_ranks_see_the_devices_of_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "0,1,2,3")
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    request = open_request(LaunchOptions("demo", nproc=2, devices="2,3"))
    argv = " ".join(LocalHosts().spec(request).channels("name")[0].argv)
    found = re.search(r"--world_info=(\S+)", argv)
    assert found is not None
    (devices,) = json.loads(base64.urlsafe_b64decode(found[1])).values()
    assert list(map(str, devices)) == ["2", "3"]
