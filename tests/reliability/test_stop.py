"""Requests to stop: all ranks save at the same step boundary, end with 75, and lose nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import pytest
import ranks
from job import Group, Job, send
from points import at_length, sample

SAVED = 75


def end_of(group: Group, began: float) -> tuple[list[int], float]:
    codes = group.codes()
    return codes, round(time.monotonic() - began, 1)


@pytest.mark.parametrize(
    ("number", "who"),
    sample([(signal.SIGTERM, [1]), (signal.SIGUSR1, [0, 1]), (signal.SIGINT, [0, 1])], 1),
    ids=str,
)
def test_a_signal_to_any_rank_stops_all_at_one_step(
    number: signal.Signals, who: Sequence[int], job: Job, whole: Job, record: Callable[..., None]
) -> None:
    group = job.start()
    job.wait_for(5)
    began = time.monotonic()
    for _ in range(3):  # what a launcher and a scheduler pass on is one request
        send([group.processes[rank] for rank in who], number)
        time.sleep(0.05)
    codes, seconds = end_of(group, began)
    last = max(job.losses())
    assert codes == [SAVED, SAVED], group.text()
    assert job.checkpoints()[-1] == f"step-{last:08d}"
    assert job.status() == {
        "state": "stopped", "exit_code": SAVED, "step": last, "reason": number.name, "launch": None,
        "detail": "", "rank": None,
    }  # fmt: skip
    assert group.text().count(f"stopped by {number.name} after step {last}") == 1
    job.go_on()
    assert job.result() == whole.result()
    to = "one rank" if who == [1] else "all ranks"
    record("stop", what=f"{number.name} to {to}", seconds=seconds, codes=codes, left=f"step {last}")


@at_length
def test_a_second_sigint_ends_at_once_and_loses_nothing_older(
    job: Job, whole: Job, record: Callable[..., None]
) -> None:
    # The rank that hangs keeps the other one from the next boundary.
    group = job.start(fault={"rank": 1, "step": 10, "do": "hang"})
    job.wait_for(9)
    time.sleep(0.5)
    send(group.processes[:1], signal.SIGINT)
    time.sleep(2.3)
    began = time.monotonic()
    send(group.processes[:1], signal.SIGINT)
    codes, seconds = end_of(group, began)
    assert codes == [130, 3], group.text()
    assert job.checkpoints() == ["step-00000004", "step-00000008"]
    record(
        "stop", what="a second SIGINT, ranks hanging", seconds=seconds, codes=codes, left="step 8"
    )
    job.go_on()
    assert job.result() == whole.result()


def test_the_time_limit_stops_a_run(job: Job, whole: Job) -> None:
    group = job.start("train.time_limit=0.001s")
    assert group.codes() == [SAVED, SAVED], group.text()
    assert "stopped by the time limit" in group.text()
    # In evaluation, too: nothing is saved twice, and the next process evaluates.
    job.go_on()
    assert job.result() == whole.result()


@at_length
def test_ranks_end_with_their_parent(job: Job, record: Callable[..., None]) -> None:
    command, port = [sys.executable, "-m", "deepspeed.launcher.launch"], str(ranks.free_port())
    world = "eyJsb2NhbGhvc3QiOiBbMCwgMV19"  # {"localhost": [0, 1]}
    launcher = subprocess.Popen(
        [
            *command, f"--world_info={world}", "--master_addr=127.0.0.1", f"--master_port={port}",
            "--module", "ptv2_scale", "train", str(job.folder / "recipe.yaml"), f"run={job.run}",
        ],
        env=ranks.no_place(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    job.wait_for(5)
    began = time.monotonic()
    launcher.kill()
    while job.status()["state"] == "running":
        assert time.monotonic() - began < 30
        time.sleep(0.05)
    seconds = round(time.monotonic() - began, 1)
    assert job.status()["exit_code"] == SAVED
    left = job.checkpoints()[-1]
    record("stop", what="kill -9 of the ranks' parent", seconds=seconds, codes=[75, 75], left=left)


@at_length
def test_under_plain_deepspeed_it_is_saved_but_the_code_is_1(
    job: Job, whole: Job, record: Callable[..., None]
) -> None:
    port = str(ranks.free_port())
    runner = subprocess.Popen(
        [
            *(sys.executable, "-m", "deepspeed.launcher.launch", "--world_info"),
            *("eyJsb2NhbGhvc3QiOiBbMCwgMV19", "--master_addr=127.0.0.1", f"--master_port={port}"),
            *("--module", "ptv2_scale", "train", str(job.folder / "recipe.yaml")),
            f"run={job.run}",
        ],
        env=ranks.no_place(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    job.wait_for(5)
    began = time.monotonic()
    runner.terminate()
    code = runner.wait(120)
    seconds = round(time.monotonic() - began, 1)
    assert (code, job.status()["exit_code"]) == (1, SAVED)
    left = job.checkpoints()[-1]
    record(
        "stop", what="SIGTERM to deepspeed's launch.py", seconds=seconds, codes=[code], left=left
    )
    job.go_on()
    assert job.result() == whole.result()
