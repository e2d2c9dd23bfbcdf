"""`--json`: one line for programs, with the numbers that people are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import write_recipe
from untrained import export_untrained

from ptv2_scale.cli import main
from ptv2_scale.launchers.doctor.collect import HostSurvey
from ptv2_scale.launchers.doctor.finding import Finding, SurveyResult


def answer(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()  # what libraries said while files were made
    assert main([*argv, "--json"]) == code
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 1
    return dict(json.loads(printed.out))


def test_inspect_counts_as_its_table_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(write_recipe(tmp_path, "bert", task={"labels": ["no", "yes"]}))
    found = answer(capsys, "inspect", recipe, "prompt.length=5")
    prefix = next(one for one in found["parts"] if one["part"] == "prefix_encoder")
    assert prefix == {"part": "prefix_encoder", "trained": 5 * 3 * 2 * 32, "frozen": 0,
                      "bytes": 5 * 3 * 2 * 32 * 4}  # fmt: skip
    assert found["parameters"] == sum(one["trained"] + one["frozen"] for one in found["parts"])
    assert found["trained"] == sum(one["trained"] for one in found["parts"])
    assert found["checkpoint_bytes"] == 12 * found["trained"]
    assert (found["family"], found["dtype"], found["method"]) == ("BERT", "fp32", "prefix")
    assert main(["inspect", recipe, "prompt.length=5"]) == 0
    assert f"{prefix['trained']:,}" in capsys.readouterr().out


def test_a_dry_run_has_the_ranks_and_the_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["launch", "demo", f"run={tmp_path / 'run'}", "--nproc", "2", "--dry-run"]
    found = answer(capsys, *words)
    assert found["run_directory"] == str(tmp_path / "run")
    assert (found["ranks"], found["ranks_of_hosts"]) == (2, [2])
    assert main(words) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[:3] == found["commands"].splitlines()[:3]  # below, a name that is new each time
    assert "launcher.launch" in found["commands"]
    assert not (tmp_path / "run").exists()


def test_a_launch_that_starts_something_has_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", "demo", "--nproc", "1", "--json"]) == 2
    assert "--json: shows what would run, with --dry-run." in capsys.readouterr().err


def test_the_doctors_findings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = Finding("reached", "FAIL", "b: no route", "check the cable", lost=True)
    survey = SurveyResult(slots={"b": 2}, silent={"b": silent})
    monkeypatch.setattr(HostSurvey, "collect", lambda self: survey)
    found = answer(capsys, "doctor", code=3)
    assert (found["exit_code"], len(found["hosts"])) == (3, 1)
    assert found["findings"] == [
        {"check": "reached", "level": "FAIL", "text": "b: no route", "fix": "check the cable",
         "lost": True}
    ]  # fmt: skip


def test_evaluate_says_nothing_besides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export_untrained(write_recipe(tmp_path, "bert"), tmp_path / "export")
    found = answer(capsys, "evaluate", str(tmp_path / "export"))
    assert {"split", "metric", "value", "trivial", "trivial_answer", "metrics"} <= {*found}
    assert main(["evaluate", str(tmp_path / "export")]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == found
    assert "alone scores" in printed.err
