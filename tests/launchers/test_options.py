"""What a launch is asked for: ranges, what goes together, and what stands for the recipe's keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ptv2_scale import LaunchOptions
from ptv2_scale.runtime.errors import UserError


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"nproc": 0}, "--nproc 0: expected a number from 1 on"),
        ({"nodes": 0}, "--nodes 0: expected a number from 1 on"),
        ({"slurm": True, "gpus_per_node": 0}, "--gpus-per-node 0: expected a number from 1 on"),
        ({"node_rank": -1}, "--node-rank -1: expected a number from 0 on"),
        ({"max_restarts": -1}, "--max-restarts -1: expected a number from 0 on"),
        ({"backoff": -0.5}, "--backoff -0.5: expected seconds from 0 on"),
        ({"backoff": float("nan")}, "--backoff nan: expected seconds from 0 on"),
        ({"slurm": True, "hostfile": Path("hosts")}, "--hostfile: not with --slurm"),
        ({"gpus_per_node": 8}, "--gpus-per-node: is for Slurm"),
        ({"partition": "a"}, "--partition: is for Slurm"),
        ({"array": Path("sweep")}, "--array: is for Slurm"),
    ],
)
def test_mistakes(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        LaunchOptions("demo", **fields)


def test_what_ranks_are_told_has_nothing_of_slurm_in_it() -> None:
    options = LaunchOptions("rte.yaml", ("train.lr=1",), slurm=True, nodes=2, nproc=4, qos="a 'b\"")
    assert options.train == ("train", "rte.yaml", "train.lr=1")
    assert options.slurm_overrides == [
        'slurm.qos="a \'b\\""', "slurm.nodes=2", "slurm.ranks_per_node=4"
    ]  # fmt: skip
    assert LaunchOptions("rte.yaml", nodes=2, nproc=4).slurm_overrides == []
