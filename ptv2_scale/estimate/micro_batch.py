"""The largest micro-batches that a recipe has memory for.

Each micro-batch costs a pass over all weights, and under ZeRO-3 a gather of them, so the largest
that fits is the fastest. Computing layers again in the backward pass costs half as much again as a
step: that is for recipes of which not even one example fits otherwise.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from ptv2_scale.data.order import micro_batch_sizes
from ptv2_scale.estimate.checkpointing import tried_layers, with_layers
from ptv2_scale.estimate.fitting import estimate, needed, verdict
from ptv2_scale.estimate.kernels import Device
from ptv2_scale.estimate.passes import Measure, measure_pass
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.model.setup import Setup

EVALUATION_SIZES = tuple(2**power for power in range(9))


def with_largest_micro_batches(
    setup: Setup,
    ranks: Cluster,
    device: Device,
    limit: int | None,
    measure: Measure = measure_pass,
) -> Setup:
    """A recipe whose micro-batches are numbers, where they said `auto`."""
    if setup.config.train.micro_batch == "auto":
        size = largest_training_batch(setup, ranks, device, limit, measure)
        setup = _with_size(setup, "train", size)
    if setup.config.evaluate.micro_batch == "auto":
        size = largest_evaluation_batch(setup, ranks, device, limit, measure)
        setup = _with_size(setup, "evaluate", size)
    return setup


def with_smallest_micro_batches(setup: Setup) -> Setup:
    """A recipe with one example a micro-batch, where it said `auto`."""
    if setup.config.train.micro_batch == "auto":
        setup = _with_size(setup, "train", 1)
    if setup.config.evaluate.micro_batch == "auto":
        setup = _with_size(setup, "evaluate", 1)
    return setup


def largest_training_batch(
    setup: Setup,
    ranks: Cluster,
    device: Device,
    limit: int | None,
    measure: Measure = measure_pass,
) -> int:
    """The largest value of `train.micro_batch` that fits.

    Args:
        setup: the recipe, opened, with a definite `deepspeed`; what it says of the micro-batch is
            no matter.
        ranks: hosts and ranks on each.
        device: of the ranks.
        limit: bytes of a rank; None: they are not known, and taken to be enough.
        measure: see `estimate`.

    Returns:
        A divisor of a rank's part of the global batch: without any layer computed again where one
        fits so, else with all of them. 1 where nothing fits.

    Raises:
        UserError: see `build_model` and `estimate_memory`.
    """
    setup = with_smallest_micro_batches(setup)
    sizes = micro_batch_sizes(setup.config.train.global_batch, ranks.world)
    for layers in tried_layers(setup):

        def fits(size: int, layers: bool | int = layers) -> bool:
            one = with_layers(_with_size(setup, "train", size), layers)
            return _fits(one, ranks, device, limit, measure)

        found = _largest(sizes, fits)
        if found is not None:
            return found
    return 1


def largest_evaluation_batch(
    setup: Setup,
    ranks: Cluster,
    device: Device,
    limit: int | None,
    measure: Measure = measure_pass,
) -> int:
    """The largest value of `evaluate.micro_batch` that fits, of `EVALUATION_SIZES`.

    Args:
        setup: the recipe, opened, with a definite `deepspeed` and `train.micro_batch`.
        ranks: see `largest_training_batch`.
        device: see there.
        limit: see there.
        measure: see there.

    Raises:
        UserError: see there.
    """
    setup = with_layers(setup, tried_layers(setup)[-1])

    def fits(size: int) -> bool:
        return _fits(_with_size(setup, "evaluate", size), ranks, device, limit, measure)

    return _largest(EVALUATION_SIZES, fits) or 1


def _fits(
    setup: Setup, ranks: Cluster, device: Device, limit: int | None, measure: Measure
) -> bool:
    if limit is None:
        return True
    total = needed(estimate(setup, ranks, device, measure), ranks, device)
    return verdict(total, limit) == "fits"


def _largest(sizes: Sequence[int], fits: Callable[[int], bool]) -> int | None:
    count = bisect_left(sizes, True, key=lambda size: not fits(size))
    return sizes[count - 1] if count else None


def _with_size(setup: Setup, section: Literal["train", "evaluate"], size: int) -> Setup:
    found = getattr(setup.config, section).model_copy(update={"micro_batch": size})
    return replace(setup, config=setup.config.model_copy(update={section: found}))
