"""DeepSpeed's launcher: as it is kept in a golden file, and which devices it is told."""

from __future__ import annotations

from nodes import ALONE, TWO, UNEQUAL, golden, lines, world_of

from ptv2_scale.launchers.backends.base import NodeStart
from ptv2_scale.launchers.backends.deepspeed import DeepSpeed

render = DeepSpeed().render


def test_golden() -> None:
    assert lines(render(NodeStart(TWO, 1))) == golden("node-deepspeed.txt")


def test_deepspeed_shows_ranks_the_devices_that_were_chosen() -> None:
    assert world_of(render(NodeStart(UNEQUAL, 0))) == {"n1": [0, 1], "n2": [0, 1, 2]}
    chosen = NodeStart(ALONE, 0, devices=("4", "GPU-5"))
    assert world_of(render(chosen)) == {"n1": ["4", "GPU-5"]}
