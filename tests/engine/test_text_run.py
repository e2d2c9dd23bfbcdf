"""Text that answers text under ZeRO-3 on two ranks, against one process without sharding."""

from __future__ import annotations

from pathlib import Path

import pytest
import ranks
from killed import losses
from tiny import write_text_recipe

from ptv2_scale import train


# A projection that is the word embeddings', and one of its own.
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_two_ranks_have_the_losses_of_one(kind: str, tmp_path: Path) -> None:
    recipe = write_text_recipe(
        tmp_path,
        kind,
        prompt={"length": 5, "dropout": 0.0},
        train={"steps": 3, "global_batch": 6, "micro_batch": 3},
        evaluate={"every": 3},
    )
    # Two chunks of a rank's tokens, and of the other's another number.
    ranks.cli(2, "train", str(recipe), "task.chunk=7").must_succeed()
    train(recipe, [f"run={tmp_path / 'one'}", "deepspeed=zero1", "task.chunk=1000"])
    one, two = losses(tmp_path / "one"), losses(tmp_path / "run")
    assert sorted(two) == [1, 2, 3]
    for step, loss in two.items():
        assert loss == pytest.approx(one[step], rel=1e-5)
