"""Text that answers text under ZeRO-3 on two ranks, against one process without sharding."""

from __future__ import annotations

import json
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
    # Of texts that are written too: ranks have as many tokens to write as the slowest of them.
    written = ["task.metric=rouge_l", "task.max_new_tokens=5"]
    # Two chunks of a rank's tokens, and of the other's another number.
    ranks.cli(2, "train", str(recipe), "task.chunk=7", *written).must_succeed()
    train(recipe, [f"run={tmp_path / 'one'}", "deepspeed=zero1", "task.chunk=1000", *written])
    one, two = losses(tmp_path / "one"), losses(tmp_path / "run")
    assert sorted(two) == [1, 2, 3]
    for step, loss in two.items():
        assert loss == pytest.approx(one[step], rel=1e-5)
    assert evaluation(tmp_path / "run") == pytest.approx(evaluation(tmp_path / "one"), rel=1e-4)


def evaluation(run: Path) -> dict[str, float]:
    """What is measured in a run's only evaluation, but for the time."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (found,) = [line for line in lines if line["event"] == "evaluation"]
    assert {"rouge_l", "bleu"} < set(found)
    return {name: value for name, value in found.items() if name not in ("event", "wall_seconds")}
