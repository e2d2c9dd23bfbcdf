"""The fewest layers that make a recipe fit, against trying all numbers of them."""

from __future__ import annotations

import json
from pathlib import Path

from tiny import write_recipe

from ptv2_scale.config import load_recipe
from ptv2_scale.estimate.checkpointing import fewest_layers
from ptv2_scale.estimate.fitting import estimate, verdict
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.model.setup import Setup, open_setup

RANKS = Cluster(1, 2)


def opened(folder: Path, layers: str, *words: str) -> Setup:
    recipe = write_recipe(folder, "llama", backbone_config={"num_hidden_layers": 3})
    sizes = ["train.micro_batch=3", "evaluate.micro_batch=1"]
    return open_setup(
        load_recipe(recipe, [*sizes, f"train.gradient_checkpointing={layers}", *words])
    )


def test_as_few_layers_as_a_limit_needs(tmp_path: Path) -> None:
    setups = {layers: opened(tmp_path / layers, layers) for layers in ("false", "1", "2", "true")}
    totals = {layers: estimate(one, RANKS, "cuda").total for layers, one in setups.items()}
    assert list(totals.values()) == sorted(totals.values(), reverse=True)
    for limit in (1, *(int(1.101 * totals[layers]) for layers in ("false", "2", "true"))):
        fitting = [key for key, total in totals.items() if verdict(total, limit) == "fits"]
        found = fewest_layers(setups["true"], RANKS, "cuda", limit)
        assert json.dumps(found) == (fitting[0] if fitting else "true")


def test_a_method_without_a_gradient_in_the_backbone_needs_none(tmp_path: Path) -> None:
    setup = opened(tmp_path, "true", "prompt={method: none}")
    assert fewest_layers(setup, RANKS, "cuda", 1) is False
