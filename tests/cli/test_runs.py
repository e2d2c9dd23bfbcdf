"""`ptv2-scale runs`: what is printed, and that nothing is removed unasked."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from run_folders import make_run

from ptv2_scale.cli.program import main


def test_lists_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = make_run(tmp_path / "one"), make_run(tmp_path / "two", train__lr=0.125)
    assert main(["runs", str(tmp_path)]) == 0
    assert str(two) in capsys.readouterr().out
    assert main(["runs", "compare", str(two), str(one)]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[-1] == "0.125"
    assert main(["runs", "compare", str(two), str(one), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"] == {"train.lr": [0.125, 0.005]}
    assert main(["runs", str(tmp_path), "--json"]) == 0
    assert {one["run"] for one in json.loads(capsys.readouterr().out)} == {str(one), str(two)}


def test_the_default_folder_and_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 2
    assert "runs: there is no such folder" in capsys.readouterr().err
    (tmp_path / "runs").mkdir()
    assert main(["runs"]) == 0
    assert capsys.readouterr().out == "no runs in runs\n"


@pytest.mark.parametrize("answer", ["", "n\n", "y\n"])
def test_clean_asks_on_a_terminal(
    answer: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = make_run(tmp_path / "one")
    newest = run / "checkpoints" / "step-00000008"
    assert main(["runs", "clean", str(run)]) == 0  # no terminal, no --yes
    assert newest.is_dir()
    assert "give --yes" in capsys.readouterr().err
    asked = io.StringIO(answer)
    monkeypatch.setattr("sys.stdin", asked)
    monkeypatch.setattr(asked, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["runs", "clean", str(run)]) == 0
    assert newest.is_dir() == (answer != "y\n")
    assert (run / "checkpoints" / "step-00000004").is_dir()


def test_clean_without_asking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "one")
    assert main(["runs", "clean", str(tmp_path), "--yes", "--json"]) == 0
    (gone,) = json.loads(capsys.readouterr().out)
    assert gone["path"] == str(run / "checkpoints" / "step-00000008")
    assert not Path(gone["path"]).exists()
    assert (run / "export").is_dir()
    assert main(["runs", "clean", str(tmp_path), "--yes", "--also", "export"]) == 0
    assert not (run / "export").exists()


def test_plot_writes_a_picture_and_overwrites_none_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, output = make_run(tmp_path / "one"), tmp_path / "curves.svg"

    def plot(*words: str) -> int:
        return main(["plot", str(run), "--output", str(output), *words])

    assert plot() == 0
    assert output.read_bytes().startswith(b"<?xml")
    output.write_text("mine")
    assert plot() == 2
    assert "curves.svg: exists already" in capsys.readouterr().err
    assert output.read_text() == "mine"
    assert plot("--overwrite") == 0
    assert output.read_bytes().startswith(b"<?xml")
    assert main(["plot", str(tmp_path), "--output", str(output)]) == 2
    assert "is not the directory of a run" in capsys.readouterr().err
    assert main(["plot", str(run), "--output", "curves.pdf"]) == 2
    assert "'.pdf' is not one of .png, .svg" in capsys.readouterr().err
