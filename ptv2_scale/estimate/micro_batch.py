"""The largest micro-batches that a recipe has memory for.

Each micro-batch costs a pass over all weights, and under ZeRO-3 a gather of them, so the largest
that fits is the fastest. Computing layers again in the backward pass costs half as much again as a
step: that is for recipes of which not even one example fits otherwise.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from ptv2_scale.data.dealing import micro_batch_sizes
from ptv2_scale.estimate.checkpointing import tried_layers, with_layers
from ptv2_scale.estimate.fitting import fits
from ptv2_scale.estimate.kernels import Device
from ptv2_scale.estimate.passes import Measure, measure_pass
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.model.setup import Setup

Part = Literal["train", "evaluate"]  # of a recipe, with a micro-batch of its own
PARTS: tuple[Part, ...] = ("train", "evaluate")
EVALUATION_SIZES = tuple(2**power for power in range(9))


def with_largest_micro_batches(
    setup: Setup, ranks: Cluster, device: Device, limit: int | None, measure: Measure = measure_pass
) -> Setup:
    """A recipe whose micro-batches are numbers, where they said `auto`."""
    for part in _automatic(setup):
        size = largest_micro_batch(part, setup, ranks, device, limit, measure)
        setup = _with_size(setup, part, size)
    return setup


def with_smallest_micro_batches(setup: Setup) -> Setup:
    """A recipe with one example a micro-batch, where it said `auto`."""
    for part in _automatic(setup):
        setup = _with_size(setup, part, 1)
    return setup


def largest_micro_batch(
    part: Part,
    setup: Setup,
    ranks: Cluster,
    device: Device,
    limit: int | None,
    measure: Measure = measure_pass,
) -> int:
    """The largest value of `train.micro_batch` or `evaluate.micro_batch` that fits.

    Args:
        part: whose micro-batch.
        setup: the recipe, opened, with a definite `deepspeed`; what it says of this micro-batch is
            no matter, and where it says `auto` of the other one, that has one example.
        ranks: hosts and ranks on each.
        device: of the ranks.
        limit: bytes of a rank; None: they are not known, and taken to be enough.
        measure: see `estimate`.

    Returns:
        In training one of `micro_batch_sizes`, in evaluation one of `EVALUATION_SIZES`: without any
        layer computed again where one fits so, else with all of them. 1 where nothing fits.

    Raises:
        UserError: see `build_model` and `estimate_memory`.
    """
    setup = with_smallest_micro_batches(setup)
    sizes: Sequence[int] = EVALUATION_SIZES
    if part == "train":
        train = setup.config.train
        sizes = micro_batch_sizes(train.global_batch, ranks.world, train.micro_batch_by)
    for layers in tried_layers(setup):

        def too_large(size: int, layers: bool | int = layers) -> bool:
            one = with_layers(_with_size(setup, part, size), layers)
            return not fits(one, ranks, device, limit, measure)

        count = bisect_left(sizes, True, key=too_large)
        if count:
            return sizes[count - 1]
    return 1


def _automatic(setup: Setup) -> list[Part]:
    return [part for part in PARTS if getattr(setup.config, part).micro_batch == "auto"]


def _with_size(setup: Setup, part: Part, size: int) -> Setup:
    section = getattr(setup.config, part).model_copy(update={"micro_batch": size})
    return replace(setup, config=setup.config.model_copy(update={part: section}))
