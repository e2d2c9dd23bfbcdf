"""Time of a step against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ptv2_scale.config import load_recipe
from ptv2_scale.estimate.memory import MemoryEstimate
from ptv2_scale.estimate.operations import Operations
from ptv2_scale.estimate.step_time import Gpu, Rates, estimate_time
from ptv2_scale.estimate.traffic import Traffic
from ptv2_scale.estimate.zero import Cluster

GPU = Gpu(10**9, bf16=1000, fp32=100, memory_rate=50, link=20, network=5, host_link=8)
MEMORY = MemoryEstimate(0, 0, 10, 20, 20, *[0] * 7)
TRAFFIC = Traffic(gathers=400, gradients=60, updates=40, from_host=0, across=200)


def test_gathering_hides_behind_computing_and_the_rest_comes_after_it(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "backbone: {name: demo}\ntask: {name: demo}\ntrain: {global_batch: 16, micro_batch: 2}\n"
    )
    config, ranks = load_recipe(recipe), Cluster(2, 2)
    rates = Rates.of(GPU, "bf16", ranks)
    assert (rates.compute, rates.across) == (400, 10)  # 40 % of the peak; two adapters
    operations = Operations(needed=6000, repeated=2000, tokens=32)

    def time(traffic: Traffic, rates: Rates = rates) -> tuple[float, ...]:
        found = estimate_time(config, ranks, operations, traffic, MEMORY, rates)
        assert found.tokens == 2 * 4 * 32
        assert found.hours(3600) == pytest.approx(found.seconds)
        assert found.tokens_a_second == pytest.approx(found.tokens / found.seconds)
        return found.compute, found.gathers, found.gradients, found.optimizer, found.seconds

    # Two micro-steps of 8000 at 400; 400 by a link of 20; of 200 across 100 are gradients, at 10.
    assert time(TRAFFIC) == (40, 20, 10, 2, 40 + 10 + 2)
    assert time(replace(TRAFFIC, gathers=1000)) == (40, 50, 10, 2, 50 + 10 + 2)
    assert time(replace(TRAFFIC, from_host=800)) == (40, 100, 10, 2, 100 + 10 + 2)
    assert time(TRAFFIC, rates.measured(800, 1)) == (20, 100, 100, 2, 100 + 100 + 2)
    assert Rates.of(GPU, "fp32", ranks).compute == 40
