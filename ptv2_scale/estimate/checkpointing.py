"""How many layers must be computed again in the backward pass for a recipe to fit.

A frozen linear layer keeps no input for a gradient of its weight, so the activations that a frozen
backbone keeps are fewer than fine-tuning's, while making them anew costs a forward pass. As few
layers as the memory needs are therefore the fastest choice.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

from ptv2_scale.estimate.fitting import fits
from ptv2_scale.estimate.kernels import Device
from ptv2_scale.estimate.layers import layers_with_gradient
from ptv2_scale.estimate.passes import Measure, measure_pass
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.model.setup import Setup


def with_fewest_layers(
    setup: Setup, ranks: Cluster, device: Device, limit: int, measure: Measure = measure_pass
) -> Setup:
    """A recipe whose `train.gradient_checkpointing` says how many, where it said `auto`."""
    if setup.config.train.gradient_checkpointing != "auto":
        return setup
    return with_layers(setup, fewest_layers(setup, ranks, device, limit, measure))


def fewest_layers(
    setup: Setup, ranks: Cluster, device: Device, limit: int, measure: Measure = measure_pass
) -> bool | int:
    """The value of `train.gradient_checkpointing` with the fewest layers that fits.

    Args:
        setup: the recipe, opened, with a definite `deepspeed`.
        ranks: hosts and ranks on each.
        device: of the ranks; on CPUs, what is offloaded to the host counts too.
        limit: bytes of a rank.
        measure: see `estimate`.

    Returns:
        False: none; a number; or True: all, which may be too few.

    Raises:
        UserError: see `build_model` and `estimate_memory`.
    """

    def enough(count: int) -> bool:
        return fits(with_layers(setup, count or False), ranks, device, limit, measure)

    if not setup.method.trains_through_backbone or enough(0):
        return False
    layers = len(layers_with_gradient(setup))
    count = 1 + bisect_left(range(1, layers), True, key=enough)
    return True if count >= layers else count


def tried_layers(setup: Setup) -> tuple[bool | int, ...]:
    """How many layers to try: as many as a recipe says, or for `auto` none and then all."""
    said = setup.config.train.gradient_checkpointing
    if not isinstance(said, str):
        return (said,)
    return (False, True) if setup.method.trains_through_backbone else (False,)


def with_layers(setup: Setup, layers: bool | int) -> Setup:
    """A recipe whose `train.gradient_checkpointing` says so many."""
    train = setup.config.train.model_copy(update={"gradient_checkpointing": layers})
    return replace(setup, config=setup.config.model_copy(update={"train": train}))
