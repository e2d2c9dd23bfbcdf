"""An export is used as what it was trained as: its labels, its tokenizer, its backbone's config."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import ranks
import yaml
from tiny import rotate_ids, write_recipe

from ptv2_scale.cli import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in `run`, of a recipe whose paths are relative."""
    folder = tmp_path_factory.mktemp("job")
    recipe = write_recipe(folder, train={"steps": 2, "head_only_baseline": False})
    ranks.cli(1, "train", str(recipe)).must_succeed()
    return folder


@pytest.fixture
def job(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "job"))


def predict(job: Path, *words: str) -> int:
    (job / "rows.jsonl").write_text('{"text": "w0 w50"}\n')
    files = ("--input", str(job / "rows.jsonl"), "--output", str(job / "out.jsonl"))
    return main(["predict", str(job / "run"), *files, *words])


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_another_tokenizer_is_refused(command: str, job: Path, capsys: Any) -> None:
    backbone = job / "backbone"
    rotate_ids(backbone)
    if command == "predict":
        assert predict(job, "--backbone", str(backbone)) == 2
    else:
        data = f"task.path={job / 'data'}"
        assert main(["evaluate", str(job / "run"), "--backbone", str(backbone), data]) == 2
    error = capsys.readouterr().err
    assert f"the tokenizer in {backbone} is another than it was trained with" in error
    assert not (job / "out.jsonl").exists()


def test_another_config_is_refused(job: Path, capsys: Any) -> None:
    path = job / "backbone" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "layer_norm_epsilon": 0.01}))
    assert predict(job, "--backbone", str(path.parent)) == 2
    assert "the backbone's config.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "override", ["task.labels=[yes, no]", "task.name=superglue/rte", "prompt.length=3"]
)
def test_what_was_trained_is_not_set_anew(override: str, job: Path, capsys: Any) -> None:
    assert main(["evaluate", str(job / "run"), override]) == 2
    error = capsys.readouterr().err
    assert "is a part of what was trained" in error or "task.labels" in error
    assert "Traceback" not in error


def test_labels_are_those_of_the_training_whatever_the_files_say_now(job: Path) -> None:
    """The label of the files is renamed, and then the files are gone."""
    train = job / "data" / "train.jsonl"
    train.write_text(train.read_text().replace('"no"', '"zero"'))
    recipe = job / "run" / "recipe.yaml"
    moved = (f"task.path={job / 'data'}", f"backbone.name={job / 'backbone'}")
    for name in ("renamed", "gone"):
        assert main(["export", str(job / "run"), str(job / name), *moved]) == 0
        card = json.loads((job / name / "card.json").read_text())
        assert card["recipe"]["task"]["labels"] == ["no", "yes"]
        assert "labels: no, yes" in (job / name / "README.md").read_text()
        train.unlink(missing_ok=True)
    assert yaml.safe_load(recipe.read_text())["task"]["labels"] == ["no", "yes"]
