"""How much is gathered at once, against small cases worked out by hand from DeepSpeed's rules."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ptv2_scale.estimate.gathers import most_gathered, with_whole_layers
from ptv2_scale.estimate.passes import ModuleUse
from ptv2_scale.estimate.zero import ZeroSettings

ALONE = ZeroSettings(
    stage=3,
    persistent=0,
    most_persistent=0,
    most_live=10**9,
    reuse=0,
    ahead=0,
    bucket=None,
    second_copy=1,
    weights_on="none",
    optimizer_on_cpu=False,
    gradient_bytes=4,
    reduced_bytes=4,
)
SIZES = [100, 20, 30, 40, 5]
FORWARD = [ModuleUse((number,), False) for number in range(5)]
STEP = (*FORWARD, *(ModuleUse((number,), True) for number in reversed(range(5))))
NONE = frozenset[int]()


@pytest.mark.parametrize(
    ("settings", "persistent", "most"),
    [
        ({}, NONE, 100),  # one module at a time
        ({}, {4}, 100 + 5),
        ({"reuse": 10**9}, NONE, 195),  # everything is used again
        # Behind 4 comes 4 at once, behind 3 come two of 5 first: both stay.
        ({"reuse": 20}, NONE, 100),
        ({"reuse": 20}, {0}, 100 + 40 + 5),
        # 20 and 30 come ahead in one buffer, then 40, 5 and (45 is below 50) the 100 of the
        # backward pass in another: it stays until that pass, beside the copies and 20 and 30.
        ({"ahead": 50}, NONE, 145 + 145 + 20 + 30),
        # As long as 60 are there, nothing comes ahead; at the end 20 and 100 do, in a buffer.
        ({"ahead": 50, "most_live": 60}, NONE, 2 * (20 + 100)),
    ],
)
def test_the_most_that_is_gathered(
    settings: dict[str, int], persistent: set[int], most: int
) -> None:
    zero = replace(ALONE, **settings)
    found = most_gathered(STEP, SIZES, frozenset(persistent), zero)
    assert found == most


def test_a_frozen_layer_is_one_use_where_it_has_room_twice() -> None:
    forward = [ModuleUse((0,), False), ModuleUse((1,), False, 0), ModuleUse((2, 3), False, 0)]
    backward = [replace(use, backward=True) for use in reversed(forward)]
    layer = ModuleUse((1, 2, 3), False, 0)
    whole = [forward[0], layer, replace(layer, backward=True), backward[2]]
    step = [*forward, *backward]
    assert with_whole_layers(step, SIZES, replace(ALONE, most_live=2 * 90)) == whole
    assert with_whole_layers(step, SIZES, replace(ALONE, most_live=2 * 90 - 1)) == step
    assert with_whole_layers(step, SIZES, replace(ALONE, weights_on="nvme")) == step
    # Out of its buffer, a layer is there twice: more than the largest weight alone.
    assert most_gathered(step, SIZES, NONE, replace(ALONE, most_live=180)) == 2 * 90
    assert most_gathered(step, SIZES, NONE, replace(ALONE, most_live=179)) == 2 * 70


def test_a_whole_layer_that_is_computed_again_is_gathered_once_for_it() -> None:
    layer, head = ModuleUse((1, 2), False, 0), ModuleUse((4,), False)
    back = [replace(head, backward=True), layer, replace(layer, backward=True)]
    found = with_whole_layers([layer, head, *back], SIZES, ALONE)
    assert found == [layer, head, back[0], back[2]]
