"""Texts of runs: what is taken of long ones, of broken ones and of none."""

from __future__ import annotations

import os
from pathlib import Path

from sweep_trials import trial

from ptv2_scale.sweep.report import runs
from ptv2_scale.sweep.report.runs import RunTexts, head, tail, texts_of


def test_a_long_file_has_its_last_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {number}\n" for number in range(1000)))
    assert tail(path, 20) == "… (the beginning is in the run directory)\nline 998\nline 999"
    assert head(path, 6) == "line 0\n… (the rest is in the run directory)"
    assert tail(path, 10**6).startswith("line 0\nline 1\n")


def test_bytes_that_are_no_text_are_shown_so(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\x1b[31mred\0\xff\n")
    assert tail(path, 100) == "\\x1b[31mred\\x00\ufffd"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    assert tail(tmp_path / "log", 100) == head(tmp_path / "none", 100) == ""


def test_a_run_has_its_recipe_metrics_and_log(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "logs").mkdir(parents=True)
    (run / "recipe.yaml").write_text("train: {}\n")
    (run / "logs" / "rank-00000.log").write_text("of the rank\n")
    one = trial({}, 0.5, run=run)
    assert texts_of([one]) == [RunTexts("train: {}", "", "of the rank")]
    (tmp_path / "run.log").write_text("of the launch\n")
    assert texts_of([one])[0].log == "of the launch"


def test_the_more_runs_the_shorter_each(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("x" * 20_000)
    trials = [trial({}, 0.5, run=tmp_path)] * 2000
    taken = len(texts_of(trials)[0].recipe)
    assert 2000 * 3 * (taken - 60) <= runs.ALL_BYTES < 2000 * 3 * taken
