"""A plan from Python: what fits, how many layers are computed again, and how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import write_recipe

from ptv2_scale.config import load_recipe
from ptv2_scale.estimate.fitting import Reopen, estimate
from ptv2_scale.estimate.plan import Gpus, make_plan
from ptv2_scale.estimate.step_time import GPUS
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.model.setup import Setup, open_shapes

ONE = Cluster(1, 1)
PLENTY = Gpus(ONE, 10**9)


def opener(folder: Path, **train: Any) -> Reopen:
    own = {"global_batch": 8, "micro_batch": 4, "gradient_checkpointing": "auto", **train}
    recipe = write_recipe(folder, "bert", train=own)

    def reopen(words: Sequence[str]) -> Setup:
        return open_shapes(load_recipe(recipe, ["task.max_length=64", *words]))

    return reopen


def test_layers_are_computed_again_where_the_gpu_is_too_small_for_none(tmp_path: Path) -> None:
    reopen = opener(tmp_path)
    plain = make_plan(reopen, PLENTY)
    assert (plain.verdict, plain.remedies) == ("fits", [])
    assert plain.setup.config.train.gradient_checkpointing is False
    whole = estimate(reopen(["train.gradient_checkpointing=false"]), ONE, "cuda").total
    least = estimate(reopen(["train.gradient_checkpointing=true"]), ONE, "cuda").total
    assert plain.memory.total == whole > least
    small = make_plan(reopen, replace(PLENTY, memory=int(1.1 * least) + 1))
    assert small.verdict == "fits"
    assert small.setup.config.train.gradient_checkpointing in (True, 1, 2)
    tiny = make_plan(reopen, replace(PLENTY, memory=int(0.8 * least)))
    assert tiny.setup.config.train.gradient_checkpointing is True
    assert tiny.verdict == "does not fit"
    assert tiny.remedies
    # No remedy gives up the layers that are computed again already.
    assert all("gradient_checkpointing" not in word for one in tiny.remedies for word in one.words)


def test_the_backbone_is_sharded_where_a_gpu_is_too_small_for_all_of_it(tmp_path: Path) -> None:
    """Of texts that are short, weights are most of what a rank needs."""
    named, few = opener(tmp_path, gradient_checkpointing=False), ["prompt.length=1"]

    def reopen(words: Sequence[str]) -> Setup:
        return named(["deepspeed=auto", "task.max_length=4", *few, *words])

    two = Cluster(1, 2)

    def total(name: str) -> int:
        return estimate(reopen([f"deepspeed={name}"]), two, "cuda").total

    plain = make_plan(reopen, replace(PLENTY, ranks=two))
    assert (plain.setup.config.deepspeed, plain.suggested) == ("zero1", "zero1")
    assert plain.memory.total == total("zero1")
    assert plain.traffic is not None
    assert plain.traffic.gathers == 0
    small = make_plan(reopen, replace(PLENTY, ranks=two, memory=int(0.8 * total("zero1"))))
    least = min(total("zero1"), total("zero3"))
    assert small.setup.config.deepspeed == small.suggested == "zero3_offload_cpu"
    assert small.memory.total == total("zero3_offload_cpu") < least
    # Remedies begin with what was chosen, and a recipe that names another one keeps it.
    assert all("deepspeed" not in word for one in small.remedies for word in one.words)
    assert small.remedies
    for one in small.remedies:
        again = reopen(["deepspeed=zero3_offload_cpu", *one.words])
        assert one.total == estimate(again, one.ranks, "cuda").total
    kept = make_plan(lambda words: reopen(["deepspeed=zero3", *words]), replace(PLENTY, ranks=two))
    assert (kept.setup.config.deepspeed, kept.suggested) == ("zero3", "zero1")
    assert kept.memory.total == total("zero3")


def test_the_time_follows_from_what_was_measured(tmp_path: Path) -> None:
    reopen = opener(tmp_path)
    assert make_plan(reopen, PLENTY).time is None  # nobody said what they are
    h100 = Gpus(Cluster(2, 4), 10**9, "H100")
    rates = h100.rates("bf16")
    assert rates is not None
    assert rates.compute == pytest.approx(0.4 * 989e12)
    assert rates.across == GPUS["H100"].network * 4
    slow, fast = (
        make_plan(reopen, replace(PLENTY, name="H100", compute=rate)).time for rate in (1e9, 1e12)
    )
    assert slow is not None
    assert fast is not None
    assert slow.compute == pytest.approx(1000 * fast.compute)


def test_a_batch_that_cannot_be_divided_has_no_traffic(tmp_path: Path) -> None:
    made = make_plan(opener(tmp_path), Gpus(Cluster(1, 3), 10**9, "A100"))
    assert made.traffic is None
    assert made.time is None
    assert "cannot be divided" in made.undivided
