"""Micro-batches that hold tokens: the curve of those that hold examples, on any number of ranks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import ranks
from killed import kill_after, losses
from tiny import write_recipe

CLOSE = 1e-5  # sums are made in another order


def recipe_of(folder: Path, by: str) -> Path:
    """Batches of 8 texts of several lengths, whose micro-batches hold 2 of the longest."""
    return write_recipe(
        folder,
        prompt={"dropout": 0.0, "length": 5},
        train={"steps": 8, "global_batch": 8, "micro_batch": 2, "micro_batch_by": by},
        evaluate={"every": 4},
    )


def norms(run: Path) -> list[float]:
    """The gradient's norm in each step, which AdamW's updates hardly show."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["gradient_norm"] for line in lines if line["event"] == "step"]


@pytest.fixture(scope="module")
def by_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose micro-batches hold an example each."""
    folder = tmp_path_factory.mktemp("examples")
    recipe = str(recipe_of(folder, "examples"))
    ranks.cli(2, "train", recipe, "train.micro_batch=1").must_succeed()
    return folder / "run"


@pytest.mark.parametrize(("world", "stage"), [(2, "zero3"), (3, "zero3"), (3, "zero1")])
def test_losses_and_gradients_are_those_of_micro_batches_of_examples(
    world: int, stage: str, by_examples: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(tmp_path, "tokens")
    ranks.cli(world, "train", str(recipe), f"deepspeed={stage}").must_succeed()
    assert losses(tmp_path / "run") == pytest.approx(losses(by_examples), rel=CLOSE)
    assert norms(tmp_path / "run") == pytest.approx(norms(by_examples), rel=1e-3)


def test_a_killed_run_goes_on_to_the_same_bits_and_on_ranks_that_do_not_divide_the_batch(
    tmp_path: Path,
) -> None:
    recipe = str(recipe_of(tmp_path, "tokens"))
    whole, killed, on_three = (tmp_path / name for name in ("whole", "killed", "three"))
    ranks.cli(2, "train", recipe, f"run={whole}").must_succeed()
    kill_after(Path(recipe), killed, 2, 5)
    ranks.cli(2, "train", recipe, f"run={killed}", "--resume", "auto").must_succeed()
    assert losses(killed) == losses(whole)
    begin = str(whole / "checkpoints" / "step-00000004")
    ranks.cli(3, "train", recipe, f"run={on_three}", "--resume", begin).must_succeed()
    later = {step: loss for step, loss in losses(whole).items() if step > 4}
    assert losses(on_three) == pytest.approx(later, rel=CLOSE)
