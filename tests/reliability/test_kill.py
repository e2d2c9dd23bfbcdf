"""kill -9 at any point: `--resume auto` reaches the bytes of the run that was never interrupted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from job import Job
from points import DELETION, FIRST_RANK, THIRD_SAVE, sample

STEPS = [
    {"rank": rank, "step": step, "do": do}
    for step in (1, 2, 4, 5, 8, 9, 11, 12, 13, 16)
    for rank, do in ((step % 2, "kill"), (0, "kill_all"))
]
FILES = [
    {"rank": rank, "file": number, "do": do}
    for rank, numbers in ((0, (*THIRD_SAVE, *DELETION)), (1, (5, 6)))
    for number in numbers
    for do in ("kill", "kill_all")
]
TORN = [
    {"rank": rank, "torn": number, "do": "kill_all"}
    for rank, number in ((0, 7), (0, 8), (0, 9), (1, 3))
]
STARTS = [
    {"rank": rank, "start": place, "do": do}
    for place in (
        "extension lock", "extensions", "rendezvous", "joined", "finding", "opening", "loading",
        "initialising", "restoring",
    )
    for rank, do in ((0, "kill_all"), (1, "kill"))
    if not (rank == 1 and place in ("finding", "opening"))  # the first rank does that alone
]  # fmt: skip


def name(fault: dict[str, Any]) -> str:
    return "-".join(str(value) for value in fault.values())


def fails_and_goes_on(job: Job, whole: Job, fault: dict[str, Any], *arguments: str) -> None:
    """Kill a run, resume it, and compare the end."""
    codes = job.start(*arguments, fault=fault).codes()
    killed = [0, 1] if fault["do"] == "kill_all" else [fault["rank"]]
    assert [rank for rank, code in enumerate(codes) if code == -9] == killed, codes
    job.go_on()
    assert job.result() == whole.result()
    assert {step: whole.losses()[step] for step in job.losses()} == job.losses()
    assert not [entry for entry in job.checkpoints() if entry.startswith(".")]
    shutil.rmtree(job.run)


@pytest.mark.parametrize(
    "fault", [*sample(STEPS, 1), *sample(FILES, 1), *sample(TORN, 1)], ids=name
)
def test_killed_while_it_runs(
    fault: dict[str, Any], job: Job, whole: Job, record: Callable[..., dict[str, Any]]
) -> None:
    row = record("kill", point=_kind(fault), ranks=_killed(fault), survived=0)
    fails_and_goes_on(job, whole, fault)
    row["survived"] = 1


@pytest.mark.parametrize("fault", sample(STARTS, 1), ids=name)
def test_killed_while_it_starts(
    fault: dict[str, Any], copied: Job, whole: Job, record: Callable[..., dict[str, Any]]
) -> None:
    # Ranks that wait for one that never came are ended by their launcher; here by a timeout.
    row = record("kill", point="start", ranks=_killed(fault), survived=0)
    fails_and_goes_on(copied, whole, fault, "--resume", "auto", "watchdog.stall=5s")
    row["survived"] = 1


def _killed(fault: dict[str, Any]) -> str:
    return "all" if fault["do"] == "kill_all" else "one"


def _kind(fault: dict[str, Any]) -> str:
    return next(kind for kind in ("step", "file", "torn") if kind in fault)


def test_the_points_are_those_of_a_save(job: Job, tmp_path: Path) -> None:
    log = tmp_path / "operations"
    fault = {"rank": 0, "file": 10**9, "log": str(log), "do": "kill"}
    job.start(fault=fault).must_succeed()
    found = [
        line.replace("-00000-of-00002.safetensors", "") for line in log.read_text().splitlines()
    ]
    assert found == FIRST_RANK
