"""Reporting ends no run: trackers, files and terminals may fail, and it goes on."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import ranks
from accelerate import PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS
from killed import losses
from tiny import write_recipe

import ptv2_scale
from ptv2_scale.config import trackers
from ptv2_scale.engine import trackers as trackers_of_a_run
from ptv2_scale.engine.reporting import Reporter
from ptv2_scale.engine.trainer import StepResult
from ptv2_scale.runtime.errors import UserError

FEW = {"steps": 4, "micro_batch": 6}
LIFE = ("__init__", "start", "log", "finish")


class Failing:
    """A tracker as accelerate has them, one of whose methods fails."""

    requires_logging_directory = False
    fails, error, calls = "", RuntimeError("the server\nhas gone"), []  # type: ignore[var-annotated]

    def __init__(self, project: str, name: str) -> None:
        self.call("__init__")

    def start(self) -> None:
        self.call("start")

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        self.call("log")

    def finish(self) -> None:
        self.call("finish")

    def call(self, name: str) -> None:
        type(self).calls.append(name)
        if name == self.fails:
            raise self.error


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type[Failing]:
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "wandb", Failing)
    monkeypatch.setattr(trackers, "is_installed", lambda package: True)
    monkeypatch.setattr(Failing, "calls", [])
    return Failing


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("job"), "bert", train=FEW, prompt={"length": 2})


@pytest.fixture(scope="module")
def untracked(recipe: Path) -> dict[int, float]:
    """The losses of a run without trackers."""
    run = recipe.parent / "untracked"
    ptv2_scale.train(recipe, [f"run={run}"])
    return losses(run)


@pytest.mark.parametrize("fails", LIFE)
def test_a_tracker_that_fails_is_named_once_and_the_run_goes_on(
    fails: str,
    failing: type[Failing],
    recipe: Path,
    untracked: dict[int, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(failing, "fails", fails)
    result = ptv2_scale.train(recipe, [f"run={tmp_path / 'run'}", "trackers=[wandb]"])
    assert result.steps == 4
    assert losses(tmp_path / "run") == untracked
    said = capsys.readouterr().err
    assert said.count("'wandb' fails (RuntimeError: the server); records are lost there") == 1
    assert "Traceback" not in said
    assert failing.calls[-1] == (fails if fails in LIFE[:2] else "finish")


def test_a_tracker_that_is_not_installed_is_the_users_to_fix(
    failing: type[Failing], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failing, "fails", "start")
    monkeypatch.setattr(failing, "error", ImportError("no module named wandb"))
    with pytest.raises(UserError, match="'wandb' is not installed"):
        Reporter(tmp_path, True, ["wandb"]).start(total=1, done=0)


@pytest.mark.parametrize("project", [None, "mine"])
def test_weights_and_biases_gets_the_numbers_of_a_run_by_its_name(
    project: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """accelerate's own tracker, in a process that has made no Accelerator, as ours makes none."""
    wandb = MagicMock(spec_set=["init"])
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setattr(PartialState, "_shared_state", {})
    if project is None:
        monkeypatch.delenv("WANDB_PROJECT", raising=False)
    else:
        monkeypatch.setenv("WANDB_PROJECT", project)
    said: list[str] = []
    opened = trackers_of_a_run.Trackers(["wandb"], tmp_path / "rte", said.append)
    opened.start()
    opened.log({"event": "step", "step": 3, "loss": 0.5})
    opened.finish()
    assert said == []
    wandb.init.assert_called_once_with(project=project or "ptv2_scale", name="rte")
    wandb.init.return_value.log.assert_called_once_with({"loss": 0.5}, step=3)
    wandb.init.return_value.finish.assert_called_once_with()


def test_tensorboards_folder_may_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter(tmp_path, True, ["tensorboard"])
    reporter.start(total=4, done=0)
    for step in range(1, 5):
        reporter.record({"event": "step", "step": step, "loss": 1.0})
        if step == 1:
            shutil.rmtree(tmp_path / "tensorboard")
            (tmp_path / "tensorboard").write_text("no folder")
    reporter.close()
    assert sorted(losses(tmp_path)) == [1, 2, 3, 4]
    said = capsys.readouterr().err
    assert said.count("'tensorboard' fails (NotADirectoryError: ") == 1
    assert "Traceback" not in said


def test_a_tracker_that_cannot_be_opened_and_a_result_that_cannot_be_written(
    recipe: Path, tmp_path: Path
) -> None:
    """By the command line: where both are to be written there is something else."""
    run = tmp_path / "run"
    ranks.cli(1, "train", str(recipe), f"run={run}").must_succeed()
    value = json.loads((run / "result.json").read_text())["value"]
    (run / "result.json").unlink()
    (run / "result.json").mkdir()
    (run / "tensorboard").write_text("tensorboard's folder is to be here")
    resumed = (f"run={run}", "trackers=[tensorboard]", "--resume", "auto")
    ended = ranks.cli(1, "train", str(recipe), *resumed).must_succeed()
    assert ended.outputs[0].count("warning: trackers: 'tensorboard' fails") == 1
    assert f"warning: {run / 'result.json'}: cannot be written" in ended.outputs[0]
    assert "Traceback" not in ended.outputs[0]
    assert json.loads((run / "export" / "card.json").read_text())["result"]["value"] == value


@pytest.mark.parametrize("gone", ["closed", "none"])
def test_a_terminal_may_go(gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = Reporter(tmp_path, True)
    with (tmp_path / "terminal").open("w") as file:
        monkeypatch.setattr(sys, "stderr", None if gone == "none" else file)
    reporter.start(total=3, done=0)
    reporter.step({"event": "step", "step": 1, "loss": 1.0})
    reporter.say("still here")
    reporter.close()
    assert losses(tmp_path) == {1: 1.0}


def test_every_line_of_both_files_is_whole_after_a_crash(tmp_path: Path) -> None:
    for name in ("metrics.jsonl", "not_finite.jsonl"):
        (tmp_path / name).write_text('{"step": 1}\n{"step": 2, "exam')
    reporter = Reporter(tmp_path, True)
    result = StepResult(3, float("nan"), 0.1, 1.0, 1.0, 6, 30)
    reporter.not_finite(result, [[], [7]], "skip")
    reporter.close()
    for name in ("metrics.jsonl", "not_finite.jsonl"):
        lines = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        assert [line["step"] for line in lines] == [1, 3]


def test_prometheus_gets_every_record(tmp_path: Path) -> None:
    reporter = Reporter(tmp_path, True, prometheus=str(tmp_path / "run.prom"))
    reporter.record({"event": "evaluation", "step": 7, "f1": 0.5})
    assert 'metric="f1"} 0.5\n' in (tmp_path / "run.prom").read_text()
    reporter.close()
    assert "_running{" in (tmp_path / "run.prom").read_text()
