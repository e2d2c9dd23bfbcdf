"""A sweep as an array of a real Slurm, followed by a second process, against runs by `train`."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import ranks
from hosted import Run
from points import at_length
from slurm_cluster import SlurmCluster
from tiny import write_recipe

from ptv2_scale.launchers.options import LaunchOptions
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.status import Status, write_status
from ptv2_scale.sweep.api import Sweep
from ptv2_scale.sweep.runners import slurm as slurm_runner
from ptv2_scale.sweep.runners.slurm import SlurmArrays
from ptv2_scale.sweep.state import Claimed, Ending

SWEEP = """
recipe: recipe.yaml
folder: runs
set: {train.steps: 4}
grid: {train.lr: [0.01, 0.001]}
launch: {slurm: true, doctor: false}
"""


def start(folder: Path, cluster: SlurmCluster) -> subprocess.Popen[str]:
    env = {**ranks.no_place(), **cluster.environment}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    argv = [sys.executable, "-m", "ptv2_scale", "sweep", "sweep.yaml"]
    return subprocess.Popen(
        argv, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@at_length
def test_jobs_outlive_the_sweep_and_are_followed_by_the_next(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_recipe(tmp_path, "bert")
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)
    first, arrays = start(tmp_path, slurm), tmp_path / "runs" / "arrays"
    until = time.monotonic() + 200
    while not slurm.ask("squeue", "--noheader", "--format=%j"):
        assert first.poll() is None, first.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    text, _ = start(tmp_path, slurm).communicate(timeout=400)
    asked = Sweep.read(Path("sweep.yaml"))
    records = asked.state().load()
    assert [(one.state, one.outcome.steps) for one in records] == [("done", 4)] * 2, text
    assert len(list(arrays.glob("*.sbatch"))) == 1  # nothing was submitted twice
    assert len(list(arrays.glob("*.log"))) == 2
    (cell,) = asked.cells
    for record in records:
        words = cell.overrides(record.params, 11, record.run)[:-1]
        whole = Run(tmp_path / record.name, ("recipe.yaml", *words))
        whole.here(1)
        assert Run(record.run).result() == whole.result()


@pytest.fixture
def played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Sweep, SlurmArrays, set[str], list[Claimed]]:
    """Trials of two cells that ask Slurm for different nodes; `refused` rates; what is queued."""
    path = tmp_path / "sweep.yaml"
    text = SWEEP.replace("recipe.yaml", "demo").replace("runs", str(tmp_path / "runs"))
    path.write_text(text.replace("set: {train.steps: 4}", "axes: {slurm.nodes: [1, 2]}"))
    asked = Sweep.read(path)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    scheduler = asked.scheduler(lambda state: lambda trial, ending: None)
    runner, trials = scheduler.runner, [scheduler.state.claim(asked.cells) for _ in range(4)]
    assert isinstance(runner, SlurmArrays)
    queue: set[str] = set()
    monkeypatch.setattr(
        SlurmArrays, "_queued", lambda self: {slurm_runner._read_job(one) for one in queue}
    )
    return asked, runner, queue, [one for one in trials if one is not None]


def test_an_array_asks_slurm_for_one_thing_and_leaves_out_what_is_refused(
    played: tuple[Sweep, SlurmArrays, set[str], list[Claimed]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, runner, queue, trials = played
    submitted: list[tuple[int, list[str]]] = []

    def submit(options: LaunchOptions) -> None:
        assert options.array is not None
        runs = options.array.read_text().splitlines()
        if any("train.lr=0.001" in one for one in runs):
            raise UserError("run 2: no room for it\nmore")
        nodes = [one for one in options.overrides if one.startswith("slurm.nodes")]
        submitted.append((len(runs), nodes))
        queue.add(f"{options.array.stem}/0")

    monkeypatch.setattr(slurm_runner, "launch", submit)
    runner.start(trials)
    # One node is the default, which is not asked for.
    assert submitted == [(1, []), (1, ["slurm.nodes=2"])]
    ended = {trial.run: ending for trial, ending in runner.ended()}
    refused = [trial.run for trial in trials if trial.params["train.lr"] == 0.001]
    assert ended == dict.fromkeys(refused, Ending("failed", 2, "run 2: no room for it"))


def test_how_a_job_that_is_gone_has_ended(
    played: tuple[Sweep, SlurmArrays, set[str], list[Claimed]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, runner, queue, trials = played
    queue.update(f"sweep-x/{index}" for index in range(4))
    runner.start([replace(one, job=f"sweep-x/{index}") for index, one in enumerate(trials)])
    assert runner.ended() == []
    for trial in trials[:2]:
        trial.run.mkdir(parents=True)
    write_status(trials[0].run, Status("done", 0, 4))
    (trials[0].run / "result.json").write_text("{}")
    write_status(trials[1].run, Status("stopped", 75, 3, "SIGTERM"))
    arrays = asked.file.folder / "arrays"
    arrays.mkdir()
    (arrays / "sweep-x.7_2.log").write_text("ptv2-scale: x.yaml: no such file.\nsrun: error\n")
    queue.clear()
    runner._asked = float("-inf")
    assert [ending for _, ending in runner.ended()] == [
        Ending("done", 0),
        Ending("failed", 75, "stopped by SIGTERM after step 3"),
        Ending("failed", 3, "x.yaml: no such file."),
        Ending("failed", 3, "its Slurm job is gone, without a word"),
    ]


def test_without_slurm_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "sweep.yaml"
    text = SWEEP.replace("recipe.yaml", "demo").replace("runs", str(tmp_path / "runs"))
    path.write_text(text)
    with pytest.raises(UserError, match="launch.slurm: sbatch is not installed here"):
        Sweep.read(path).scheduler(lambda state: lambda trial, ending: None)
    search = "search: {trials: 2, prune: asha, keys: {train.lr: [0.1, 0.2]}}"
    path.write_text(text.replace("grid: {train.lr: [0.01, 0.001]}", search))
    with pytest.raises(UserError, match="sweep.yaml:6: launch.slurm: runs there are not stopped"):
        Sweep.read(path).scheduler(lambda state: lambda trial, ending: None)
