"""An export of a run whose backbone and data have moved since: the same file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ptv2_scale.cli import main

OLD = Path(__file__).parents[1] / "fixtures" / "run-0.1.0"
MOVED = ("--backbone", "elsewhere/backbone", "task.path=elsewhere/data")


@pytest.fixture
def moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of 0.1.0 as the current folder, its backbone and data somewhere else."""
    folder = shutil.copytree(OLD, tmp_path / "old")
    (folder / "elsewhere").mkdir()
    for name in ("backbone", "data"):
        (folder / name).rename(folder / "elsewhere" / name)
    monkeypatch.chdir(folder)
    return folder


def exported(folder: Path) -> bytes:
    return (folder / "prompt.safetensors").read_bytes()


@pytest.mark.parametrize("words", [MOVED, ("backbone.name=elsewhere/backbone", MOVED[-1])])
def test_an_export_is_told_where_they_are(words: tuple[str, ...], moved: Path) -> None:
    assert main(["export", "run", "again", *words]) == 0
    assert exported(moved / "again") == exported(moved / "export")


def test_a_folder_of_any_name_is_one(moved: Path) -> None:
    odd = "it's: a #1 'name', {x: y}"
    (moved / "elsewhere" / "backbone").rename(moved / odd)
    assert main(["export", "run", "again", "--backbone", odd, MOVED[-1]]) == 0
    assert exported(moved / "again") == exported(moved / "export")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", *MOVED, "prompt.length=5"), "the recipe has changed: prompt.length was 4 and is"),
        (("export", *MOVED), "export: is an export, and a copy of it takes no task.path="),
        (("run", "--format", "peft", *MOVED), "--format peft: is made from a finished export"),
    ],
)
def test_what_would_be_another_export_is_refused(
    words: tuple[str, ...], message: str, moved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, *rest = words
    assert main(["export", source, "again", *rest]) == 2
    assert message in capsys.readouterr().err
    assert not (moved / "again").exists()
