"""Bytes of a rank against what DeepSpeed has allocated on two real ranks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ranks
from points import sample
from tiny import write_recipe

from ptv2_scale.config import load_recipe
from ptv2_scale.estimate.memory import MemoryEstimate, estimate_memory
from ptv2_scale.estimate.passes import measure_pass
from ptv2_scale.estimate.zero import Cluster, ZeroSettings, persistent_parameters
from ptv2_scale.model.setup import Setup, build_model, open_setup

WORKER = Path(__file__).with_name("memory_worker.py")
# The word embeddings are the largest part; a layer has 12 x 96 x 96.
SIZES = {"vocab_size": 2000, "hidden_size": 96, "intermediate_size": 384}
FULL = {"method": "full"}
FP32 = {"communication_data_type": "fp32", "data_types": {"grad_accum_dtype": "fp32"}}
# Everything is sharded; given back at once, or kept as long as by default.
AT_ONCE = {
    "stage": 3,
    "stage3_param_persistence_threshold": 1000,
    "stage3_max_reuse_distance": 0,
    "stage3_prefetch_bucket_size": 10_000,
}
LATER = {"stage": 3, "stage3_param_persistence_threshold": 1000}
STAGE_2 = {"stage": 2, "reduce_bucket_size": "auto"}
CASES: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, AT_ONCE, False),
    ({}, LATER, True),
    ({}, AT_ONCE, True),
    (FULL, STAGE_2, True),
    (FULL, LATER, False),
    (FULL, {**STAGE_2, "stage": 1}, False),
]


@dataclass
class Measured:
    between: int
    within: int
    peak: int


def measured(recipe: Path) -> Measured:
    ended = ranks.run(2, *ranks.worker(WORKER, recipe)).must_succeed()
    lines = [line for line in ended.outputs[0].splitlines() if line.startswith("FOUND")]
    return Measured(**json.loads(lines[0].removeprefix("FOUND")))


def kept_whole(setup: Setup) -> int:
    """Bytes of what ZeRO-3 keeps whole, which are there all the time."""
    zero = ZeroSettings.of(setup.config, Cluster(1, 2))
    sizes = [one.numel() for one in build_model(setup).parameters()]
    whole = persistent_parameters(sizes, zero) if zero.stage == 3 else ()
    return 4 * sum(sizes[number] for number in whole)


@pytest.mark.parametrize(("prompt", "zero", "checkpointing"), sample(CASES, 2))
def test_a_rank_has_what_is_estimated(
    prompt: dict[str, Any], zero: dict[str, Any], checkpointing: bool, tmp_path: Path
) -> None:
    path = tmp_path / "zero.json"
    path.write_text(json.dumps({"zero_optimization": zero, **FP32}))
    recipe = write_recipe(
        tmp_path, "bert", backbone_config=SIZES, prompt=prompt, deepspeed=str(path),
        train={
            "global_batch": 4, "micro_batch": 2, "gradient_checkpointing": checkpointing, "lr": 1e-4
        },
        evaluate={"micro_batch": 1},
    )  # fmt: skip
    setup = open_setup(load_recipe(recipe))
    found: MemoryEstimate = estimate_memory(setup, Cluster(1, 2), measure_pass(setup, "cpu"))
    real, whole = measured(recipe), kept_whole(setup)
    print("MEASURED", zero["stage"], prompt, checkpointing, found, real, whole)
    sharded = zero["stage"] == 3
    state = found.weights + found.masters + found.moments + whole
    # ZeRO-3 keeps its buffers for gradients; below, they are made anew in each step.
    buffers = found.gradients + found.buckets if sharded else 0
    assert real.between == pytest.approx(state + buffers, rel=0.1)
    given = found.update // 2  # the gradient as the optimizer takes it
    assert real.within == pytest.approx(state + buffers + given, rel=0.1)
    assert real.between + real.peak == pytest.approx(found.total, rel=0.1)
