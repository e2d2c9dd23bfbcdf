"""Run directories made by hand: which are found, how each stands, what it has reached."""

from __future__ import annotations

import json
from datetime import datetime
from os import utime
from pathlib import Path

import pytest
from run_folders import Holder, make_run

from ptv2_scale.history.runs import KILLED, find_runs, named_runs, read_run
from ptv2_scale.runtime.errors import UserError


def test_an_ended_run(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "one"))
    assert (run.state, run.reason) == ("ended", "")
    assert (run.task, run.method, run.backbone) == ("superglue/rte", "prefix", "t5-large")
    assert (run.score, run.outcome.metric, run.outcome.trivial) == (0.75, "accuracy", 0.5)
    assert (run.outcome.steps, run.seconds) == (8, 5400.0)


@pytest.mark.parametrize(
    ("written", "state", "reason"),
    [("stopped", "stopped", "rank 1 died"), ("failed", "failed", "rank 1 died"),
     ("running", "failed", KILLED)],
)  # fmt: skip
def test_a_run_without_a_result_has_its_best_evaluation_and_recorded_time(
    written: str, state: str, reason: str, tmp_path: Path
) -> None:
    run = read_run(make_run(tmp_path / "one", written))
    assert (run.state, run.reason) == (state, reason)
    assert (run.score, run.outcome.score, run.outcome.trivial) == (0.75, None, None)
    assert run.seconds == 17.0  # the last record's


def test_a_run_is_running_while_another_process_holds_its_lock(tmp_path: Path) -> None:
    path = make_run(tmp_path / "one", "running")
    with Holder(path):
        assert (read_run(path).state, read_run(path).reason) == ("running", "")
    assert read_run(path).state == "failed"


def test_runs_are_found_below_a_folder_and_nothing_else_is(tmp_path: Path) -> None:
    old = make_run(tmp_path / "sweep" / "cell" / "old")
    new = make_run(tmp_path / "new")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "recipe.yaml").write_text("mine: true\n")
    (tmp_path / "link").symlink_to(new)
    make_run(tmp_path / ".hidden")
    moment = datetime(2026, 1, 2, 3, 4).astimezone()
    for name in ("status.json", "recipe.yaml", ".lock"):
        utime(old / name, (moment.timestamp(), moment.timestamp()))
    assert [run.path for run in find_runs([tmp_path])] == [new, old]
    assert find_runs([old])[0].changed == moment
    assert [run.path for run in find_runs([old, tmp_path])] == [old, new]


def test_what_is_damaged_is_listed_all_the_same(tmp_path: Path) -> None:
    path = make_run(tmp_path / "one")
    (path / "status.json").write_text("{")
    (path / "result.json").write_text("[]")
    (path / "metrics.jsonl").write_bytes(b'{"step": "x"}\n\xff\n{"event": "st')
    run = read_run(path)
    assert (run.state, run.score, run.seconds) == ("failed", None, None)
    (path / "recipe.yaml").write_text("no recipe")
    assert read_run(path).task == "?"
    (path / "result.json").write_text(json.dumps({"value": 0.5, "metric": "f1"}))
    assert (read_run(path).state, read_run(path).score) == ("ended", 0.5)


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: there is no such folder"):
        find_runs([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="is not the directory of a run"):
        named_runs([tmp_path])
