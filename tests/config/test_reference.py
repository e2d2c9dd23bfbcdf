"""The page of all keys: current, complete, and with what the models really take as defaults."""

from __future__ import annotations

import re
from typing import Any

import pytest
import ranks

from ptv2_scale.cli import main
from ptv2_scale.config import METHODS, TASKS, RunConfig, dump_recipe, yaml_text
from ptv2_scale.config.reference import markdown

PAGE = ranks.CHECKOUT / "docs" / "recipe.md"
ROW = re.compile(r"^\| `([\w.]+)` \| (.+?) \| (`.*?`|\*\*required\*\*) \| (.+) \|$", re.MULTILINE)


def test_the_page_is_that_of_the_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--markdown"]) == 0
    assert capsys.readouterr().out == PAGE.read_text(), (
        "write it anew: ptv2-scale schema --markdown > docs/recipe.md"
    )


def keys() -> set[str]:
    """Full names of all keys, by the models' own lists."""
    found = set()
    for name, field in RunConfig.model_fields.items():
        variants = {"prompt": METHODS, "task": TASKS}.get(name)
        models: Any = variants.models() if variants else [field.annotation]
        inner = {f"{name}.{key}" for model in models for key in getattr(model, "model_fields", ())}
        found |= inner - {"prompt.method", "task.kind"} or {name}
    return found


def test_every_key_has_a_row() -> None:
    rows = ROW.findall(PAGE.read_text())
    assert {name for name, *_ in rows} == keys()
    tables = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert len(tables) == len(rows)


def test_defaults_are_those_of_a_recipe_that_sets_nothing() -> None:
    """YAML of the page's defaults against the dump of a recipe with the two required keys."""
    least = {"backbone": {"name": "x"}, "task": {"name": "text"}}
    dumped = yaml_text.parse(dump_recipe(RunConfig.model_validate(least))).value
    sections = ("task", "prompt")
    page = {name: value for name, _, value, _ in ROW.findall(PAGE.read_text())
            if name.partition(".")[0] not in sections and value != "**required**"}  # fmt: skip
    for name, shown in page.items():
        section, _, key = name.rpartition(".")
        value = (dumped[section] if section else dumped).get(key, "no meaning beside the others")
        if name not in ("train.epochs", "train.decay"):  # 10 where steps are not given; idle
            assert yaml_text.parse(shown.strip("`")).value == value, name
    assert len(page) > 40


def test_the_page_is_made_of_recipes_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "sweep", "--markdown"]) == 2
    assert "leave out 'sweep'" in capsys.readouterr().err
    assert markdown().startswith("# Every key of a recipe\n")
