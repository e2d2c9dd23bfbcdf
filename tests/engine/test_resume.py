"""Resuming: the same bits on as many ranks, the same curve on another number of them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import ranks
import torch
from killed import kill_after, losses
from points import at_length, sample
from tiny import write_recipe

from ptv2_scale import load_prompted, load_row_encoder

# Where a processor has no bf16 units, the second takes a minute longer.
KINDS = sample([("table", "fp32"), ("table", "bf16"), ("mlp", "fp32")], 1)


@pytest.mark.parametrize(("encoder", "dtype"), KINDS)
def test_after_kill_9_the_run_goes_on_to_the_same_bits(
    encoder: str, dtype: str, tmp_path: Path
) -> None:
    prompt = {"encoder": encoder, "dropout": 0.2, "length": 9}
    recipe = write_recipe(
        tmp_path, prompt=prompt, backbone={"dropout": 0.1, "dtype": dtype}, train={"steps": 20}
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    ranks.cli(2, "train", str(recipe), f"run={whole}").must_succeed()
    kill_after(recipe, killed, 2, 13)  # steps 13 to 15: between checkpoints, in mid-epoch
    assert not (killed / "result.json").exists()
    first_leg = events(killed)
    began = time.monotonic()
    ranks.cli(2, "train", str(recipe), f"run={killed}", "--resume", "auto").must_succeed()
    check_measurements(whole, killed, first_leg, time.monotonic() - began)
    assert losses(killed) == losses(whole)
    ours, theirs = ((run / "export" / "prompt.safetensors").read_bytes() for run in (whole, killed))
    assert ours == theirs
    final = [run / "checkpoints" / "step-00000020" for run in (whole, killed)]
    for part in final[0].glob("part-*"):
        assert part.read_bytes() == (final[1] / part.name).read_bytes()


def events(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def check_measurements(
    whole: Path, killed: Path, first_leg: list[dict[str, Any]], second: float
) -> None:
    """What is measured of a run that was killed: its time is that of both processes."""
    result, alike = (json.loads((run / "result.json").read_text()) for run in (killed, whole))
    before = first_leg[-1]["wall_seconds"]
    resumed = events(killed)[len(first_leg) :]
    times = [one["wall_seconds"] for one in resumed]
    assert times == sorted(times)
    assert times[-1] <= result["seconds"] + 0.1  # it is rounded
    assert before + times[-1] - times[0] < result["seconds"] < before + second
    for name in ("metrics", "validation_loss", "steps", "versions", "hardware"):
        assert result[name] == alike[name], name
    assert result["examples_per_second"] < result["tokens_per_second"]
    # 20 examples in batches of 6 are four steps an epoch, of which the fourth has two examples.
    steps = [one for one in events(whole) if one["event"] == "step"]
    assert [one["epoch"] for one in steps] == [number / 4 for number in range(1, 21)]
    assert [one["examples"] for one in steps] == [6, 6, 6, 2] * 5
    assert result["examples_per_second"] == pytest.approx(rate(killed, "examples"), rel=0.02)
    assert result["tokens_per_second"] == pytest.approx(rate(killed, "tokens"), rel=0.02)
    assert result["validation_loss"] == pytest.approx(plain_loss(whole), abs=1e-4)


def rate(run: Path, what: str) -> float:
    """From the records of the steps that count."""
    steps = {one["step"]: one for one in events(run) if one["event"] == "step"}
    made = steps.values()
    return sum(one[what] for one in made) / sum(one["seconds"] for one in made)


def plain_loss(run: Path) -> float:
    """Cross-entropy on the validation split by the plain model, all rows in one batch."""
    lines = (run.parent / "data" / "validation.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    with torch.no_grad():
        logits = load_prompted(run)(**load_row_encoder(run)(rows)).logits
    labels = torch.tensor([("no", "yes").index(row["label"]) for row in rows])
    return torch.nn.functional.cross_entropy(logits, labels).item()


METHODS = {
    "prompt": {"length": 5},
    "ptuning": {"length": 5, "hidden": 8},
    "lora": {"rank": 2, "dropout": 0.1},
    "full": {},
}


@at_length
@pytest.mark.parametrize("method", METHODS)
def test_every_method_goes_on_to_the_same_bits_and_predicts_as_it_was_trained(
    method: str, tmp_path: Path
) -> None:
    prompt = {"method": method, **METHODS[method]}
    recipe = write_recipe(tmp_path, prompt=prompt, backbone={"dropout": 0.1}, train={"steps": 20})
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    ranks.cli(2, "train", str(recipe), f"run={whole}").must_succeed()
    kill_after(recipe, killed, 2, 13)
    assert not (killed / "result.json").exists()
    ranks.cli(2, "train", str(recipe), f"run={killed}", "--resume", "auto").must_succeed()
    assert losses(killed) == losses(whole)
    ours, theirs = ((run / "export" / "prompt.safetensors").read_bytes() for run in (whole, killed))
    assert ours == theirs
    # A whole model in this process against one that is sharded over two ranks.
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    texts = [{"text": f"w{number} w{number + 7}"} for number in range(9)]
    rows.write_text("".join(json.dumps(row) + "\n" for row in texts))
    ranks.cli(2, "predict", str(whole), "--input", str(rows), "--output", str(out)).must_succeed()
    model, encode = load_prompted(whole), load_row_encoder(whole)
    with torch.no_grad():
        expected = model(**encode(texts)).logits.softmax(-1)
    for line, probabilities in zip(out.read_text().splitlines(), expected, strict=True):
        found = json.loads(line)["prediction"]["probabilities"]
        assert list(found.values()) == pytest.approx(probabilities.tolist(), abs=1e-5)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job without dropout, its whole run, and the same run stopped on 2 ranks after step 4."""
    folder = tmp_path_factory.mktemp("job")
    recipe = write_recipe(folder, prompt={"dropout": 0.0}, checkpoint={"keep": 9})
    ranks.cli(2, "train", str(recipe), f"run={folder / 'whole'}").must_succeed()
    return folder


@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("stage", ["zero3", "zero1"])
def test_another_number_of_ranks_goes_on_with_the_same_curve(
    world: int, stage: str, stopped: Path
) -> None:
    run = stopped / f"on-{world}-{stage}"
    checkpoint = stopped / "whole" / "checkpoints" / "step-00000004"
    arguments = (f"run={run}", f"deepspeed={stage}", "--resume", str(checkpoint))
    ranks.cli(world, "train", str(stopped / "recipe.yaml"), *arguments).must_succeed()
    whole = losses(stopped / "whole")
    found = losses(run)
    assert sorted(found) == list(range(5, 13))
    for step, loss in found.items():
        assert loss == pytest.approx(whole[step], rel=1e-5)


@pytest.mark.parametrize("name", ["zero1", "zero2"])
def test_a_replicated_backbone_without_accumulation(name: str, tmp_path: Path) -> None:
    # DeepSpeed's hooks of stages 1 and 2 took the guard's gradient for a training step's.
    recipe = write_recipe(tmp_path, train={"micro_batch": 6, "steps": 2})
    ranks.cli(1, "train", str(recipe), f"deepspeed={name}").must_succeed()
    assert sorted(losses(tmp_path / "run")) == [1, 2]
