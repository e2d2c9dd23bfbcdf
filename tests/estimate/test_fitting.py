"""Whether an estimate fits."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import write_recipe

from ptv2_scale.config import load_recipe
from ptv2_scale.estimate.fitting import Reopen, estimate, remedies, verdict
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.model.setup import open_shapes

ONE, INT8 = Cluster(1, 1), "backbone.quantization=int8"


def test_between_fitting_and_not_fitting_is_a_band_of_ten_percent() -> None:
    assert [verdict(total, 1000) for total in (900, 909, 910, 1000, 1111, 1112)] == [
        *("fits", "fits", "close", "close", "close", "does not fit")
    ]


def opener(folder: Path, kind: str, *words: str) -> Reopen:
    recipe = write_recipe(folder, kind, train={"global_batch": 8, "micro_batch": 4})
    given = ["deepspeed=zero1", *words]
    return lambda more: open_shapes(load_recipe(recipe, [*given, *more]))


def test_8_bits_are_a_way_where_weights_are_what_takes_memory(tmp_path: Path) -> None:
    reopen = opener(tmp_path, "bert", "task.max_length=4", "prompt.length=1")
    whole, less = (estimate(reopen(words), ONE, "cuda").total for words in ([], [INT8]))
    found = remedies(reopen, ONE, "cuda", int(1.1 * less) + 1)
    assert {one.words: one.total for one in found}[INT8,] == less < whole


@pytest.mark.parametrize(("kind", "more"), [("bert", [INT8]), ("gpt2", [])])
def test_where_one_change_is_not_enough_all_that_go_are_made(
    kind: str, more: list[str], tmp_path: Path
) -> None:
    """GPT-2 has no layers that can be kept in 8 bits."""
    reopen = opener(tmp_path, kind, "task.max_length=64")
    words = ["train.micro_batch=1", "task.max_length=32", "deepspeed=zero3_offload_cpu", *more]
    least = estimate(reopen(words), ONE, "cuda").total
    found = remedies(reopen, ONE, "cuda", int(1.1 * least) + 1)
    assert {one.words for one in found} == {tuple(words)}  # on one rank, or on more
