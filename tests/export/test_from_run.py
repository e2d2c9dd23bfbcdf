"""An export of a run whose backbone and data have moved since: the same file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptv2_scale.cli import main
from ptv2_scale.export.card import read_card
from ptv2_scale.runtime.errors import UserError

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


@pytest.mark.parametrize(
    "edit",
    [
        lambda card: card["recipe"]["task"]["labels"].reverse(),
        lambda card: card["recipe"]["task"].update(head="hf"),
        lambda card: card["recipe"]["prompt"].update(length=3),
        lambda card: card.update(head="roberta"),
        lambda card: card.update(method={**card["method"], "length": 3}),
    ],
)
def test_a_card_that_was_edited_is_refused(edit: Callable[[Any], None], moved: Path) -> None:
    """Labels in another order would exchange the classes of what was trained."""
    assert main(["export", "run", "again", *MOVED]) == 0
    path = moved / "again" / "card.json"
    card = json.loads(path.read_text())
    card["recipe"]["backbone"]["name"] = "elsewhere/backbone"  # what has moved may be written anew
    path.write_text(json.dumps(card))
    read_card(moved / "again")
    edit(card)
    path.write_text(json.dumps(card))
    with pytest.raises(UserError, match=r"card.json: has been edited since it was written"):
        read_card(moved / "again")


def test_a_copy_of_an_export_has_the_same_card(moved: Path) -> None:
    assert main(["export", "run", "again", *MOVED]) == 0
    assert main(["export", "again", "third"]) == 0
    one, other = (
        json.loads((moved / name / "card.json").read_text()) for name in ("again", "third")
    )
    assert one == other
    assert one["digest"]
