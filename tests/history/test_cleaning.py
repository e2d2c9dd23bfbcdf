"""What is removed of runs, and above all what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_folders import Holder, make_run

from ptv2_scale.history.cleaning import leftovers, remove
from ptv2_scale.history.runs import find_runs
from ptv2_scale.runtime.errors import UserError


def all_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_of_an_ended_run_all_checkpoints_but_the_best(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one")
    (run / "checkpoints" / "step-00000002.damaged").mkdir()
    before = all_of(run)
    found = leftovers(find_runs([tmp_path]))
    assert [(one.path.name, one.nbytes) for one in found] == [
        ("step-00000002.damaged", 0), ("step-00000008", 1000),
    ]  # fmt: skip
    assert all_of(run) == before  # nothing is removed until it is asked for
    remove(found)
    gone = ("checkpoints/step-00000002.damaged", "checkpoints/step-00000008")
    assert all_of(run) == {name for name in before if not name.startswith(gone)}


def test_the_best_and_the_export_go_when_they_are_asked_for_by_name(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one")
    assert {one.path.name for one in leftovers(find_runs([run]), ["export"])} == {
        "step-00000008", "export",
    }  # fmt: skip
    remove(leftovers(find_runs([run]), ["best", "export"]))
    assert not (run / "export").exists()
    assert not list((run / "checkpoints").iterdir())
    assert (run / "result.json").exists()


@pytest.mark.parametrize("state", ["stopped", "failed", "running"])
def test_a_run_that_may_go_on_keeps_all_but_halves(state: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "one", state)
    half = run / "checkpoints" / ".step-00000012.building"
    half.mkdir()
    found = leftovers(find_runs([tmp_path]), ["best", "export"])
    assert [one.path for one in found] == [half]


def test_nothing_of_a_run_that_runs_or_begins_to(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one")
    found = leftovers(find_runs([tmp_path]))
    with Holder(run):
        assert leftovers(find_runs([tmp_path])) == []
        with pytest.raises(UserError, match="has begun to run meanwhile"):
            remove(found)
    assert (run / "checkpoints" / "step-00000008").is_dir()


def test_links_are_left(tmp_path: Path) -> None:
    run, elsewhere = make_run(tmp_path / "one"), tmp_path / "elsewhere"
    (run / "checkpoints" / "step-00000008").rename(elsewhere)
    (run / "checkpoints" / "step-00000008").symlink_to(elsewhere)
    assert leftovers(find_runs([run])) == []


def test_a_result_without_a_best_step_removes_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one")
    (run / "result.json").write_text('{"value": 0.5, "best_step": "4"}')
    with pytest.raises(UserError, match=r'result\.json: best_step: found "4"'):
        leftovers(find_runs([run]))
