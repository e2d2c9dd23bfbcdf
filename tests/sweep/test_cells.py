"""Cells and runs of a sweep file, against combinations written out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptv2_scale.config.locate import load_run
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.sweep.cells import Cell, cells_of, folder_name
from ptv2_scale.sweep.load import load_sweep

GRID = """
recipe: demo
set: {train.epochs: 2}
axes:
  method:
    head only: {prompt: {method: none}}
    P-Tuning v2: {prompt.length: 8, grid: {train.lr: [0.03]}}
  train.micro_batch: [4, 8]
grid: {train.lr: [0.01, 0.001], train.weight_decay: [0, 0.1]}
seeds: [1, 2]
"""
SEARCH = """
recipe: demo
axes:
  method:
    prefix: {}
    head only: {prompt: {method: none}, grid: {train.lr: [0.01]}}
search:
  trials: 3
  keys: {train.lr: {low: 1.0e-4, high: 0.1, log: true}, train.schedule: [linear, cosine]}
seeds: [5, 6]
"""


def cells(text: str, folder: Path) -> list[Cell]:
    path = folder / "s.yaml"
    path.write_text(text)
    return cells_of(load_sweep(path))


def test_a_grid_is_every_combination(tmp_path: Path) -> None:
    found = cells(GRID, tmp_path)
    assert [cell.label for cell in found] == [
        f"{method}, train.micro_batch={size}"
        for method in ("head only", "P-Tuning v2")
        for size in (4, 8)
    ]
    assert found[0].axes == {"method": "head only", "train.micro_batch": "4"}
    first = [(dict(one.params or {}), one.seed) for one in found[0].planned]
    assert first == [
        ({"train.lr": lr, "train.weight_decay": decay}, seed)
        for seed in (1, 2)
        for lr in (0.01, 0.001)
        for decay in (0, 0.1)
    ]
    # A method's own rates stand for those of the sweep; the other key stays.
    own = {(one.params or {})["train.lr"] for one in found[2].planned}
    assert (own, len(found[2].planned)) == ({0.03}, 4)


def test_the_words_of_a_run_make_its_recipe(tmp_path: Path) -> None:
    cell = cells(GRID, tmp_path)[0]
    words = cell.overrides({"train.lr": 2e-5, "train.weight_decay": 0.1}, 2, tmp_path / "a run")
    config, run = load_run(cell.recipe, words)
    assert (config.prompt.method, config.train.epochs, config.train.micro_batch) == ("none", 2, 4)
    assert (config.train.lr, config.train.weight_decay, config.train.seed) == (2e-5, 0.1, 2)
    assert run == tmp_path / "a run"


def test_a_search_plans_its_trials_with_the_first_seed(tmp_path: Path) -> None:
    searched, tried = cells(SEARCH, tmp_path)
    assert [(one.params, one.seed) for one in searched.planned] == [(None, 5)] * 3
    assert len({one.folder for one in searched.planned}) == 3
    assert tried.search is None
    assert [(one.params, one.seed) for one in tried.planned] == [
        ({"train.lr": 0.01}, 5),
        ({"train.lr": 0.01}, 6),
    ]


def test_a_recipe_may_stand_inside_or_be_named_by_labels(tmp_path: Path) -> None:
    for name, length in (("long", 64), ("short", 4)):
        text = f"backbone: {{name: demo}}\ntask: {{name: demo}}\nprompt: {{length: {length}}}\n"
        (tmp_path / f"{name}.yaml").write_text(text)
    named = cells("recipe: '{kind}.yaml'\naxes: {kind: {long: {}, short: {}}}\n", tmp_path)
    assert [cell.config.prompt.model_dump()["length"] for cell in named] == [64, 4]
    inside = cells("recipe: {backbone: {name: demo}, task: {name: demo}}\n", tmp_path)
    assert [cell.label for cell in inside] == ["all"]
    with pytest.raises(UserError, match="s.yaml:1: recipe: .*expected the name of an axis: kind"):
        cells("recipe: '{kin}.yaml'\naxes: {kind: {long: {}, short: {}}}\n", tmp_path)


def test_a_mistake_in_a_recipe_is_named_where_the_sweep_makes_it(tmp_path: Path) -> None:
    text = GRID.replace("[0.01, 0.001]", "[0.01, -1]").replace("prompt.length", "prompt.lenght")
    with pytest.raises(UserError) as error:
        cells(text, tmp_path)
    path = tmp_path / "s.yaml"
    rate, length = str(error.value).splitlines()
    assert rate == f"{path}:9: train.lr: found -1 (int), expected a number above 0."
    assert length.startswith(f"{path}:7: prompt.lenght: unknown key. Did you mean 'length'?")
    inside = "recipe:\n  backbone: {name: demo}\n  task: {name: demo}\n  train:\n    lr: fast\n"
    with pytest.raises(UserError, match=r"s\.yaml:5: train\.lr: found 'fast'"):
        cells(inside, tmp_path)
    with pytest.raises(UserError, match="s.yaml:2: axes.train.lr: 0.1 is named twice"):
        cells("recipe: demo\naxes: {train.lr: [0.1, 0.1]}\n", tmp_path)


def test_folders_of_different_texts_are_different() -> None:
    texts = ["P-Tuning v2", "P-Tuning-v2", "a/b", "a-b", "..", "x" * 90, "x" * 91, "lr=0.01"]
    names = [folder_name(text) for text in texts]
    assert len(set(names)) == len(names)
    assert names[-1] == "lr=0.01"
    assert all("/" not in name and not name.startswith(".") for name in names)
