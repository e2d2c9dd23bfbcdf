"""The least sharding of the backbone that makes a recipe fit.

A frozen backbone has no gradients and no optimizer state, so a copy of it on every rank costs its
own bytes and nothing else, and saves every gather of its weights. Sharding is therefore for what
does not fit. Computing layers again costs half as much again as a step, while gathers run beside
the computation; so more sharding is tried before layers are computed again.
"""

from __future__ import annotations

from dataclasses import replace

from ptv2_scale.config import RunConfig
from ptv2_scale.config.deepspeed import AUTO
from ptv2_scale.estimate.checkpointing import tried_layers, with_layers
from ptv2_scale.estimate.fitting import fits
from ptv2_scale.estimate.kernels import Device
from ptv2_scale.estimate.micro_batch import with_smallest_micro_batches
from ptv2_scale.estimate.passes import Measure, MeasuredPasses
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.model.setup import Setup

_OFFLOADED = "zero3_offload_cpu"


def with_least_sharding(
    setup: Setup, ranks: Cluster, device: Device, limit: int | None, measure: Measure | None = None
) -> Setup:
    """A recipe whose `deepspeed` names a shipped configuration, where it said `auto`."""
    if setup.config.deepspeed != AUTO:
        return setup
    return with_deepspeed(setup, least_sharding(setup, ranks, device, limit, measure))


def least_sharding(
    setup: Setup, ranks: Cluster, device: Device, limit: int | None, measure: Measure | None = None
) -> str:
    """The shipped configuration that shards least of those that make a recipe fit.

    First without any layer computed again in the backward pass, then with all of them; a recipe
    that says how many is tried with those alone. A micro-batch that says `auto` has one example.

    Args:
        setup: the recipe, opened; what it says of `deepspeed` is no matter.
        ranks: hosts and ranks on each.
        device: of the ranks.
        limit: bytes of a rank; None: they are not known, and taken to be enough.
        measure: see `estimate`.

    Returns:
        Its name; where nothing fits, the one that shards most, and for a frozen backbone on GPUs
        the one that keeps it in the memory of the hosts.

    Raises:
        UserError: see `build_model` and `estimate_memory`.
    """
    names, last = shardings(setup.config, ranks), last_resort(setup.config, ranks, device)
    if limit is None or names == (last,):
        return names[0]
    measure = measure or MeasuredPasses()
    setup = with_smallest_micro_batches(setup)
    for layers in tried_layers(setup):
        for name in names:
            one = with_deepspeed(with_layers(setup, layers), name)
            if fits(one, ranks, device, limit, measure):
                return name
    return last


def shardings(config: RunConfig, ranks: Cluster) -> tuple[str, ...]:
    """Shipped configurations that can be chosen for a recipe, the one that shards least first."""
    # What is trained has an optimizer's state, which both shard; stage 2 shards gradients, too.
    least = "zero2" if config.prompt.TRAINS_BACKBONE else "zero1"
    if ranks.world == 1:
        return (least,)
    # On one host, or with one rank on each, hpZ's second copy would be the first one again.
    hpz = ("zero3_hpz",) if ranks.hosts > 1 and ranks.per_host > 1 else ()
    return (least, *hpz, "zero3")


def last_resort(config: RunConfig, ranks: Cluster, device: Device) -> str:
    """What is left where none of `shardings` fits."""
    # On a CPU the memory of the host is that of its ranks, and nothing is gained by going there.
    if device == "cpu" or config.prompt.TRAINS_BACKBONE:
        return shardings(config, ranks)[-1]
    return _OFFLOADED


def with_deepspeed(setup: Setup, name: str) -> Setup:
    """A recipe whose `deepspeed` names a configuration."""
    return replace(setup, config=setup.config.model_copy(update={"deepspeed": name}))
