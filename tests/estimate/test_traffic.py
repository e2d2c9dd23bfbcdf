"""Bytes of a step against what four ranks on two simulated hosts pass to torch.distributed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import ranks
from tiny import write_recipe

from ptv2_scale.config import load_recipe
from ptv2_scale.estimate.passes import measure_pass
from ptv2_scale.estimate.traffic import Traffic, estimate_traffic
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.model.setup import open_setup

WORKER = Path(__file__).with_name("traffic_worker.py")
SIZES = {"vocab_size": 2000, "hidden_size": 96, "intermediate_size": 384}
FP32 = {"communication_data_type": "fp32", "data_types": {"grad_accum_dtype": "fp32"}}
# As of a large model: nothing that is used again is near.
AT_ONCE = {"stage": 3, "stage3_max_reuse_distance": 0, "stage3_prefetch_bucket_size": 0}
CASES: dict[str, dict[str, Any]] = {
    "zero3": {**AT_ONCE, "stage3_param_persistence_threshold": 1000},
    "hpz": {**AT_ONCE, "stage3_param_persistence_threshold": 0, "zero_hpz_partition_size": 2},
    "kept": {"stage": 3, "stage3_param_persistence_threshold": 1000},
    "zero1": {"stage": 1},
    "bf16": {**AT_ONCE, "stage3_param_persistence_threshold": 1000},
    "int8": {**AT_ONCE, "stage3_param_persistence_threshold": 1000},
}
BACKBONES = {"bf16": {"dtype": "bf16"}, "int8": {"dtype": "bf16", "quantization": "int8"}}


def recipe_of(folder: Path, zero: dict[str, Any], backbone: dict[str, str]) -> Path:
    folder.mkdir()
    path = folder / "zero.json"
    path.write_text(json.dumps({"zero_optimization": zero, **FP32}))
    train = {"global_batch": 16, "micro_batch": 2, "gradient_checkpointing": True}
    return write_recipe(
        folder, "bert", backbone_config=SIZES, backbone=backbone, deepspeed=str(path), train=train
    )


def estimated(recipe: Path, cluster: Cluster) -> Traffic:
    setup = open_setup(load_recipe(recipe))
    return estimate_traffic(setup, cluster, measure_pass(setup, "cpu"))


def test_what_ranks_send_is_what_is_estimated(tmp_path: Path) -> None:
    recipes = {
        name: recipe_of(tmp_path / name, zero, BACKBONES.get(name, {}))
        for name, zero in CASES.items()
    }
    worker, port = ranks.worker(WORKER, *recipes.values()), ranks.free_port()
    processes = []
    for rank in range(4):
        host = {"LOCAL_RANK": str(rank % 2), "LOCAL_WORLD_SIZE": "2"}
        processes.append(ranks.begin(worker, {**ranks.environment(rank, 4, port), **host}))
    lines = ranks.wait(processes).must_succeed().outputs[0].splitlines()
    measured = [json.loads(line[5:]) for line in lines if line.startswith("FOUND")]
    for (name, recipe), real in zip(recipes.items(), measured, strict=True):
        found = estimated(recipe, Cluster(2, 2))
        print("MEASURED", name, found, real)
        inside = found.gathers + found.gradients + found.updates
        assert inside == pytest.approx(real["inside"], rel=0.1)
        assert found.across == pytest.approx(real["across"], rel=0.1)
