"""A report in a folder."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from sweep_trials import HOSTILE, ladder, trial

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.sweep.report import write_report


def test_the_tables_are_written_and_replaced(tmp_path: Path) -> None:
    write_report([], tmp_path / "new", "empty")
    write_report(ladder(), tmp_path / "new", "a ladder")
    text = (tmp_path / "new" / "tables.md").read_text()
    assert text.startswith("# a ladder\n")
    assert "| rte | large | accuracy | 0.500 | **0.810 ± 0.014** | 0.760 ± 0.014 |" in text
    scores = read(tmp_path / "new" / "scores.csv")
    assert float(scores[1]["full"]) == pytest.approx(0.71)
    assert len(read(tmp_path / "new" / "best.csv")) == 6
    assert len(list((tmp_path / "new" / "figures").iterdir())) == 6
    assert len(read(tmp_path / "new" / "trials.csv")) == 12


def test_what_a_reader_should_know_stands_below_the_tables(tmp_path: Path) -> None:
    write_report([trial({"method": "a"}, 0.5)], tmp_path, "stuck")
    assert "- trivial: a \\| train.lr=0.01 seed=1: accuracy 0.5000 is no" in (
        tmp_path / "tables.md"
    ).read_text().replace("\\_", "_")


def test_figures_of_an_earlier_report_are_taken_away(tmp_path: Path) -> None:
    write_report([], tmp_path, "a sweep")
    for name in ("mine.svg", "score-by-size.svg"):
        (tmp_path / "figures" / name).touch()
    write_report([], tmp_path, "a sweep")
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["mine.svg"]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="not a report's"):
        write_report(ladder(), tmp_path, "a ladder")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_hostile_names_stay_texts(tmp_path: Path) -> None:
    trials = [trial({"method": name, "task": name}, 0.6) for name in HOSTILE]
    write_report(trials, tmp_path, HOSTILE[0])
    text = (tmp_path / "tables.md").read_text()
    assert "<script>" not in text
    rows = read(tmp_path / "trials.csv")
    assert [row["axes.method"] for row in rows] == [
        f"'{name}" if name.startswith("=") else name for name in HOSTILE
    ]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
