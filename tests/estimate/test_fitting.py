"""Whether an estimate fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tiny import write_recipe

from ptv2_scale.config import load_recipe
from ptv2_scale.estimate.fitting import estimate, remedies, verdict
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.model.setup import Setup, open_shapes

ONE, SHORT = Cluster(1, 1), ["deepspeed=zero1", "task.max_length=4", "prompt.length=1"]


def test_between_fitting_and_not_fitting_is_a_band_of_ten_percent() -> None:
    assert [verdict(total, 1000) for total in (900, 909, 910, 1000, 1111, 1112)] == [
        *("fits", "fits", "close", "close", "close", "does not fit")
    ]


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_8_bits_are_a_way_where_weights_are_what_takes_memory(kind: str, tmp_path: Path) -> None:
    """With what remains beside it where GPT-2 has no layers for it."""
    recipe = write_recipe(tmp_path, kind)

    def reopen(words: Sequence[str]) -> Setup:
        return open_shapes(load_recipe(recipe, [*SHORT, *words]))

    least = (
        estimate(reopen(["backbone.quantization=int8"]), ONE, "cuda") if kind == "bert" else None
    )
    whole = estimate(reopen([]), ONE, "cuda")
    limit = int(1.1 * least.total) + 1 if least else int(0.9 * whole.total)
    found = {one.words: one.total for one in remedies(reopen, ONE, "cuda", limit)}
    if least is not None:
        assert found["backbone.quantization=int8",] == least.total < 0.6 * whole.total
    assert found
    assert kind == "bert" or not any("quantization" in word for words in found for word in words)
