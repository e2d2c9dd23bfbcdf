"""A run that cannot fit is refused before it loads weights, with what would make it fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tiny import write_recipe

import ptv2_scale
from ptv2_scale.config import load_recipe
from ptv2_scale.engine import memory_check
from ptv2_scale.estimate.fitting import estimate, needed
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.model.setup import open_shapes
from ptv2_scale.runtime.errors import UserError

# Activations are most of what it takes, and checkpointing helps little with one layer.
LARGE = {"steps": 2, "global_batch": 64, "micro_batch": 64, "gradient_checkpointing": True}


def estimated(recipe: Path, *words: str) -> int:
    found = estimate(open_shapes(load_recipe(recipe, list(words))), Cluster(1, 1), "cpu")
    return needed(found, Cluster(1, 1), "cpu")


def with_memory(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(memory_check, "available_memory", lambda ranks: limit)


def test_what_does_not_fit_is_refused_with_what_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path, "bert", train=LARGE)
    total = estimated(recipe)
    with_memory(monkeypatch, int(0.7 * total))
    with pytest.raises(UserError) as caught:
        ptv2_scale.train(recipe)
    said = str(caught.value)
    assert f"about {total / 1e9:.3g} GB, and {0.7 * total / 1e9:.3g} GB are free" in said
    assert "train.check_memory=false" in said
    ways = dict(re.findall(r"(train\.micro_batch=\d+) \((\S+) GB\)", said))
    assert ways == {
        word: f"{estimated(recipe, word) / 1e9:.3g}"
        for word in ("train.micro_batch=32", "train.micro_batch=1")
    }
    assert not (tmp_path / "run/metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("share", "words"), [(0.6, ["train.check_memory=false"]), (0.95, []), (2.0, [])]
)
def test_what_may_fit_runs_and_so_does_what_is_asked_for(
    share: float, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path, "bert", train=LARGE)
    with_memory(monkeypatch, int(share * estimated(recipe)))
    assert ptv2_scale.train(recipe, words).steps == 2


def test_a_method_without_layers_to_choose_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = {**LARGE, "gradient_checkpointing": "auto"}
    recipe = write_recipe(tmp_path, "bert", prompt={"method": "none"}, train=train)
    with_memory(monkeypatch, 1)
    with pytest.raises(UserError, match="this run does not fit"):
        ptv2_scale.train(recipe)


def test_sharding_that_nothing_makes_fit_is_refused_with_what_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path, "bert", train=LARGE, deepspeed="auto")
    limit = int(0.7 * estimated(recipe, "deepspeed=zero1"))
    with_memory(monkeypatch, limit)
    with pytest.raises(UserError, match=r"this run does not fit.*train\.micro_batch=1 \("):
        ptv2_scale.train(recipe)


def test_what_was_chosen_to_fit_is_not_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = {**LARGE, "gradient_checkpointing": "auto"}
    recipe = write_recipe(tmp_path, "bert", train=train)

    def refused(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(memory_check, "estimate", refused)
    assert ptv2_scale.train(recipe).steps == 2
    with_memory(monkeypatch, 1)
    with pytest.raises(AssertionError):  # all layers, which may be too few
        ptv2_scale.train(recipe, [f"run={tmp_path / 'other'}"])
