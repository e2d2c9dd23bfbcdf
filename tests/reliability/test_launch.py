"""`ptv2-scale launch`: forwards signals, ends with the run's own code, starts failed runs again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import ranks
from job import FAULTY, Job
from points import at_length, sample

from ptv2_scale.launchers.restarts import Again, GiveUp, after_failures


def launch(job: Job, *arguments: str) -> subprocess.Popen[str]:
    """Start `ptv2-scale launch` with two ranks, its output in a file."""
    recipe = str(job.folder / "recipe.yaml")
    with (job.folder / f"{job.name}.log").open("a") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "ptv2_scale", "launch", recipe, f"run={job.run}"),
                *("--nproc", "2", *arguments),
            ],
            env=ranks.no_place(), stdout=log, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip


def rank_processes(job: Job) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        is_rank = any(word.startswith("--local_rank") for word in line)
        if is_rank and f"run={job.run}" in line:
            found.append(process)
    return sorted(found, key=lambda process: " ".join(process.cmdline()))


def text(job: Job) -> str:
    return (job.folder / f"{job.name}.log").read_text()


@pytest.mark.parametrize("number", sample([signal.SIGKILL, signal.SIGTERM], 1))
def test_a_signal_to_the_launcher_reaches_the_ranks(
    number: signal.Signals, job: Job, whole: Job, record: Callable[..., None]
) -> None:
    launcher = launch(job)
    job.wait_for(5)
    found = rank_processes(job)
    assert len(found) == 2
    began = time.monotonic()
    launcher.send_signal(number)
    psutil.wait_procs(found, timeout=30)
    seconds = round(time.monotonic() - began, 1)
    code = launcher.wait(30)
    assert code == (75 if number == signal.SIGTERM else -9), text(job)
    last = max(job.losses())
    assert job.status()["exit_code"] == 75
    assert job.checkpoints()[-1] == f"step-{last:08d}"
    record("stop", what=f"{number.name} to the launcher", seconds=seconds, codes=[code],
           left=f"step {last}")  # fmt: skip
    job.go_on()
    assert job.result() == whole.result()


def test_a_killed_rank_is_replaced_from_the_newest_checkpoint(
    job: Job, whole: Job, record: Callable[..., None]
) -> None:
    launcher = launch(job, "--max-restarts", "2", "--backoff", "0.5")
    job.wait_for(9)
    rank_processes(job)[1].kill()
    began = time.monotonic()
    assert launcher.wait(120) == 0, text(job)
    assert "restart 1 of 2 in 0.5 s" in text(job)
    assert "rank 1 on" in text(job)
    assert job.result() == whole.result()
    record("stop", what="kill -9 of a rank, --max-restarts 2", codes=[0], left="done",
           seconds=round(time.monotonic() - began, 1))  # fmt: skip


def test_a_mistake_is_not_tried_again(job: Job) -> None:
    launcher = launch(job, "--max-restarts", "3", "task.path=/nowhere")
    assert launcher.wait(60) == 2, text(job)
    assert text(job).count("ptv2-scale: ") == 1
    assert "restart" not in text(job)
    assert not job.run.exists()


@at_length
def test_a_crash_that_repeats_ends_the_restarts(job: Job, tmp_path: Path) -> None:
    # Every start has the fault: the module that ranks run is the test's own.
    module = tmp_path / "ptv2_scale_faulty.py"
    fault = {"rank": 1, "step": 10, "do": "raise"}
    module.write_text(
        f"import runpy, sys\nsys.argv[1:1] = [{json.dumps(fault)!r}]\n"
        "sys.argv[1:] = [a for a in sys.argv[1:] if not a.startswith('--local_rank')]\n"
        f"runpy.run_path({FAULTY!r}, run_name='__main__')\n"
    )
    code = (
        "from ptv2_scale.launchers.backends.deepspeed import DeepSpeed; real = DeepSpeed.render\n"
        "DeepSpeed.render = lambda self, start: [w.replace('ptv2_scale', 'ptv2_scale_faulty')"
        " if w == 'ptv2_scale' else w for w in real(self, start)]\n"
        "from ptv2_scale.cli import run; run()"
    )
    environment = ranks.no_place()
    environment["PYTHONPATH"] += os.pathsep + str(tmp_path)
    ended = subprocess.run(
        [
            *(sys.executable, "-c", code, "launch", str(job.folder / "recipe.yaml")),
            *(f"run={job.run}", "--nproc", "2", "--max-restarts", "5", "--backoff", "0.2"),
        ],
        env=environment, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert ended.returncode == 3, ended.stderr[-3000:]
    assert "it failed twice after step 9" in ended.stderr
    # By the rank itself, and again as each start's last words.
    assert ended.stderr.count("RuntimeError: planted by the test") == 4
    assert ended.stderr.splitlines()[-1] == f"log: {job.run}/logs/rank-00001.log"
    assert job.checkpoints() == ["step-00000004", "step-00000008"]


def test_when_to_start_again() -> None:
    assert after_failures([7], 3, 10.0) == Again(10.0)
    assert after_failures([7, 9], 3, 10.0) == Again(20.0)
    assert after_failures([7, 9, 30], 3, 200.0) == Again(300.0)
    assert isinstance(after_failures([7, 9, 30, 31], 3, 10.0), GiveUp)
    assert isinstance(after_failures([7, 7], 3, 10.0), GiveUp)
    assert after_failures([7, 9, 7], 3, 1.0) == Again(4.0)
    assert isinstance(after_failures([0], 0, 10.0), GiveUp)
