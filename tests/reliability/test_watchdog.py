"""A rank that dies, hangs or raises: all end in time, with code 3 and one message that names it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import ranks
from job import HOST, Job, send
from points import at_length, sample

STOPPED, RAISED = ("has not answered for 8 s", "do_stop"), ("failed", "planted by the test")
MESSAGE = re.compile(r"^(\[\S+ rank \d+\] )?ptv2-scale: ", re.MULTILINE)
KILLED = ("was killed or crashed", "")
CASES = {
    "SIGSTOP of the first rank": ({"rank": 0, "step": 10, "do": "stop"}, *STOPPED),
    "SIGSTOP of a rank": ({"rank": 1, "step": 10, "do": "stop"}, *STOPPED),
    "a rank raises": ({"rank": 1, "step": 10, "do": "raise"}, *RAISED),
    "the first rank raises": ({"rank": 0, "step": 10, "do": "raise"}, *RAISED),
    "a deadlock": (
        {"rank": 1, "step": 10, "do": "hang"},
        "has got no further for 20 s",
        "do_hang",
    ),
    "kill -9 of a rank": ({"rank": 1, "step": 10, "do": "kill"}, *KILLED),
    "kill -9 of the first rank": ({"rank": 0, "step": 10, "do": "kill"}, *KILLED),
}


@pytest.mark.parametrize("what", sample(list(CASES), 2))
def test_all_ranks_end_and_the_message_names_the_one(
    what: str, job: Job, record: Callable[..., None]
) -> None:
    fault, said, shown = CASES[what]
    # Shorter ones are met by ranks that start on a machine with other work.
    group = job.start("watchdog.silence=8s", "watchdog.stall=20s", fault=fault)
    job.wait_for(9)
    began = time.monotonic()
    codes = group.codes()
    seconds = round(time.monotonic() - began, 1)
    assert codes == [_code(fault, rank) for rank in range(2)], group.text()
    printed = group.text()
    named = f"ptv2-scale: rank {fault['rank']} on {HOST} {said}"
    assert printed.count(named) == 1, printed
    assert len(MESSAGE.findall(printed)) == 1, printed
    assert shown in printed.partition(named)[2]
    assert job.status()["reason"].startswith(named.removeprefix("ptv2-scale: "))
    assert (job.status()["exit_code"], job.status()["step"]) == (3, 9)
    assert job.checkpoints() == ["step-00000004", "step-00000008"]
    record("watchdog", what=what, seconds=seconds, codes=codes, said=said)


def _code(fault: dict[str, Any], rank: int) -> int:
    # A stopped rank is killed once its stack has been had.
    gone = fault["rank"] == rank and fault["do"] in ("kill", "stop")
    return -9 if gone else 3


def test_a_mistake_that_one_rank_finds_is_told_once(job: Job) -> None:
    group = job.start(fault={"rank": 1, "step": 10, "do": "mistake"})
    assert group.codes(60) == [2, 2]
    assert group.text().count(f"ptv2-scale: rank 1 on {HOST}: planted by the test") == 1
    assert "Traceback" not in group.text()


@at_length
def test_a_run_that_was_asleep_blames_nobody(job: Job, whole: Job) -> None:
    """All ranks stopped for longer than the silence, as when a laptop is closed, then continued."""
    group = job.start("watchdog.silence=3s")
    job.wait_for(5)
    send(group.processes, signal.SIGSTOP)
    time.sleep(5)
    send(group.processes, signal.SIGCONT)
    group.must_succeed()
    assert job.result() == whole.result()


def test_one_run_directory_has_one_run(job: Job) -> None:
    first = Job(job.folder, world=1, name=job.name)
    group = first.start(fault={"rank": 0, "step": 6, "do": "hang"})
    first.wait_for(5)
    recipe, environment = (
        str(job.folder / "recipe.yaml"),
        ranks.environment(0, 1, ranks.free_port()),
    )
    second = subprocess.run(
        [
            *(sys.executable, "-m", "ptv2_scale", "train", recipe, f"run={job.run}"),
            *("--resume", "auto"),
        ],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    send(group.processes, signal.SIGKILL)
    assert second.returncode == 2, second.stderr
    assert "another process is running here" in second.stderr
