"""A loss or gradient that is not finite: stop, skip the batch, or go back, alike on all ranks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from job import Job
from points import EVERYTHING, at_length

CASES = [
    (what, policy, stage)
    for stage in ("zero3", "zero2", "zero1")
    for what in ("nan", "inf", "gradient")
    for policy in ("skip", "roll_back", "stop")
]
FEW = [("gradient", "skip", "zero3"), ("inf", "roll_back", "zero1"), ("nan", "stop", "zero3")]


@pytest.mark.parametrize(("what", "policy", "stage"), CASES if EVERYTHING else FEW)
def test_one_bad_step(
    what: str, policy: str, stage: str, job: Job, record: Callable[..., None]
) -> None:
    fault: dict[str, Any] = {"rank": 1, "step": 10, "do": what}
    group = job.start(f"train.not_finite={policy}", f"deepspeed={stage}", fault=fault)
    codes = group.codes()
    assert codes == ([2, 2] if policy == "stop" else [0, 0]), group.text()
    (note,) = map(json.loads, (job.run / "not_finite.jsonl").read_text().splitlines())
    assert (note["step"], note["policy"]) == (10, policy)
    if what != "gradient":
        # Rank 1 had three micro-batches of one example; each had such a loss.
        assert (note["ranks"], len(note["examples"])) == ([1], 3)
    made = [event["step"] for event in job.events("step")]
    if policy == "stop":
        assert group.text().count("step 10: the loss or its gradient is not finite") == 1
        assert (made, job.checkpoints()[-1]) == (list(range(1, 10)), "step-00000008")
    elif policy == "skip":
        assert made == [*range(1, 10), *range(11, 17)]
    else:
        assert made == [*range(1, 10), 9, *range(11, 17)]
    record("numbers", what=what, policy=policy, stage=stage, codes=codes)


@at_length
def test_a_skipped_batch_leaves_everything_as_it_was_and_resumes(job: Job) -> None:
    """The same run, stopped after the skipped step and resumed, ends with the same bits."""
    fault = {"rank": 0, "step": 6, "do": "inf"}
    job.start("train.not_finite=skip", fault=fault).must_succeed()
    again = Job(job.folder, name=f"{job.name}-again")
    second = {"rank": None, "step": 6, "do": "inf"}
    again.start("train.not_finite=skip", "train.time_limit=1d", fault=second).must_succeed()
    assert again.result() == job.result()
    third = Job(job.folder, name=f"{job.name}-third")
    begin = job.run / "checkpoints" / "step-00000012"
    third.start("--resume", str(begin), "train.not_finite=skip").must_succeed()
    assert third.result() == job.result()
    state = json.loads((begin / "trainer.json").read_text())
    assert state["skipped"] == [6]


def test_ten_bad_steps_in_a_row_stop(job: Job) -> None:
    fault = {"rank": 0, "step": 3, "times": 14, "do": "nan"}
    group = job.start("train.not_finite=skip", fault=fault)
    assert group.codes() == [2, 2]
    assert "step 13: the loss or its gradient is not finite, as in the 10 steps before" in (
        group.text()
    )
