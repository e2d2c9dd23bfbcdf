"""`ptv2-scale sweep` on the command line: what it takes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptv2_scale.cli import main, parse
from ptv2_scale.sweep.api import Sweep
from ptv2_scale.sweep.state import SweepState


def test_what_is_to_be_done_may_be_left_out() -> None:
    assert parse(["sweep", "a.yaml"]).what == "run"
    found = parse(["sweep", "status", "a.yaml"])
    assert (found.what, found.file) == ("status", Path("a.yaml"))
    with pytest.raises(SystemExit):
        parse(["sweep", "state", "a.yaml"])


def test_mistakes_end_with_2_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "none.yaml"]) == 2
    (tmp_path / "a.yaml").write_text("recipe: demo\nset: {train.lr: fast}\n")
    assert main(["sweep", "a.yaml"]) == 2
    (tmp_path / "a.yaml").write_text("recipe: demo\n")
    assert main(["sweep", "status", "a.yaml"]) == 2
    said = capsys.readouterr().err
    assert "ptv2-scale: none.yaml: no such file." in said
    assert "ptv2-scale: a.yaml:2: train.lr: found 'fast' (str), expected a number above 0" in said
    assert "sweep.db: no such file: the sweep has not been started here" in said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


def test_a_dry_run_shows_the_cells_and_begins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("recipe: demo\naxes: {prompt.length: [4, 8]}\n")
    assert main(["sweep", "a.yaml", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["prompt.length=4", "1"],
        ["prompt.length=8", "1"],
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


def test_a_report_is_written_of_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("recipe: demo\naxes: {prompt.length: [4, 8]}\n")
    asked = Sweep.read(Path("a.yaml"))
    asked.file.folder.mkdir(parents=True)
    SweepState.of(asked.file, make=True).prepare(asked.cells)
    assert main(["sweep", "report", "a.yaml"]) == 0
    folder = Path("runs/sweeps/a/report")
    assert str(folder / "report.html") in capsys.readouterr().out.splitlines()
    assert (folder / "trials.csv").read_text().count(",waiting,") == 2
