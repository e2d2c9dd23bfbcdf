"""The largest micro-batches that make a recipe fit, against trying all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import write_recipe

from ptv2_scale.config import load_recipe
from ptv2_scale.estimate.fitting import estimate, verdict
from ptv2_scale.estimate.micro_batch import (
    EVALUATION_SIZES,
    largest_micro_batch,
    with_largest_micro_batches,
)
from ptv2_scale.estimate.passes import MeasuredPasses
from ptv2_scale.estimate.sharding import least_sharding
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.model.setup import Setup, open_setup

RANKS = Cluster(1, 2)
AUTO = ("train.micro_batch=auto", "evaluate.micro_batch=auto")
SIZES = (1, 2, 3, 4, 6, 12)  # that divide a rank's 12 examples


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    return write_recipe(folder, "llama", train={"global_batch": 24})


def opened(recipe: Path, *words: str) -> Setup:
    return open_setup(load_recipe(recipe, words))


def total(recipe: Path, train: int, evaluate: int, layers: str) -> int:
    sizes = [f"train.micro_batch={train}", f"evaluate.micro_batch={evaluate}"]
    again = f"train.gradient_checkpointing={layers}"
    return estimate(opened(recipe, *sizes, again), RANKS, "cuda").total


@pytest.mark.parametrize("layers", ["auto", "false", "true", "1"])
def test_as_many_examples_as_a_limit_has_room_for(recipe: Path, layers: str) -> None:
    setup = opened(recipe, *AUTO, f"train.gradient_checkpointing={layers}")
    measure = MeasuredPasses()
    tried = ("false", "true") if layers == "auto" else (layers,)
    totals = {(again, size): total(recipe, size, 1, again) for again in tried for size in SIZES}
    for limit in (1, *(int(1.101 * one) for one in totals.values()), 2**50):
        fitting = [
            [size for size in SIZES if verdict(totals[again, size], limit) == "fits"]
            for again in tried
        ]
        expected = next((sizes[-1] for sizes in fitting if sizes), 1)
        assert largest_micro_batch("train", setup, RANKS, "cuda", limit, measure) == expected
    assert largest_micro_batch("train", setup, RANKS, "cuda", None, measure) == SIZES[-1]


def test_the_largest_evaluation_that_a_limit_has_room_for(recipe: Path) -> None:
    setup = opened(recipe, "train.micro_batch=1", "evaluate.micro_batch=auto")
    totals = {size: total(recipe, 1, size, "true") for size in EVALUATION_SIZES}
    assert totals[256] > totals[16]
    for limit in (1, *(int(1.101 * one) for one in totals.values()), 2**50):
        fitting = [size for size, one in totals.items() if verdict(one, limit) == "fits"]
        found = largest_micro_batch("evaluate", setup, RANKS, "cuda", limit)
        assert found == (fitting[-1] if fitting else 1)


def test_sizes_that_a_recipe_names_stay(recipe: Path) -> None:
    setup = opened(recipe, "train.micro_batch=2", "evaluate.micro_batch=3")
    assert with_largest_micro_batches(setup, RANKS, "cuda", 2**50) is setup


def test_sharding_is_chosen_for_one_example(recipe: Path) -> None:
    """Else the two choices would wait for each other."""
    one = total(recipe, 1, 1, "true")
    smallest = opened(recipe, "train.micro_batch=1", "evaluate.micro_batch=1")
    for limit in (one, 2 * one, 2**50):
        found = least_sharding(opened(recipe, *AUTO), RANKS, "cuda", limit)
        assert found == least_sharding(smallest, RANKS, "cuda", limit)


def test_what_no_number_of_examples_divides_is_left_to_the_ranks(recipe: Path) -> None:
    setup = opened(recipe, *AUTO)
    assert largest_micro_batch("train", setup, Cluster(1, 5), "cuda", 2**50) == 1
