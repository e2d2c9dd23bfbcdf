"""The head that a method has to beat."""

from __future__ import annotations

from pathlib import Path

import pytest
import ranks

from ptv2_scale.engine.head_baseline import RATES

WORKER = Path(__file__).with_name("head_worker.py")


@pytest.mark.parametrize("world", [1, 3, len(RATES) + 1])
def test_ranks_share_the_rates_and_each_learns_the_best(world: int) -> None:
    ended = ranks.run(world, *ranks.worker(WORKER)).must_succeed()
    expected = f"FOUND {[max(RATES), -min(RATES)]}"
    assert all(expected in output for output in ended.outputs)
