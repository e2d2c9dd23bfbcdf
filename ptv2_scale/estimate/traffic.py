"""Bytes that a step puts on the wire, inside a host and between hosts, from shapes alone.

The rules are those of DeepSpeed 0.19, compared with what its ranks pass to torch.distributed. A
collective moves what a ring moves (Patarasuk and Yuan, 2009): of n ranks each sends (n - 1)/n of
what is gathered or scattered, and twice that for an all-reduce. Ranks of a host follow each other,
so one of a host's ranks sends to the next host, and the others to a neighbour inside.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from ptv2_scale.backbones.dtypes import DTYPES
from ptv2_scale.data.dealing import micro_steps_of
from ptv2_scale.estimate.gathers import with_whole_layers
from ptv2_scale.estimate.passes import ModuleUse, PassMemory
from ptv2_scale.estimate.zero import Cluster, ZeroSettings, persistent_parameters
from ptv2_scale.model.setup import Setup, build_model


@dataclass(frozen=True)
class Traffic:
    """Bytes of an optimizer step; sums of losses, norms and the like are not counted.

    Attributes:
        gathers: that a rank sends for gathered weights.
        gradients: that a rank sends for gradients.
        updates: that a rank sends for what the optimizer has changed.
        from_host: weights that a rank copies to its device from its host's memory or disk.
        across: that a host sends to another one, for all of these; 0: there is one host.
    """

    gathers: int
    gradients: int
    updates: int
    from_host: int
    across: int


def estimate_traffic(setup: Setup, ranks: Cluster, passes: PassMemory) -> Traffic:
    """Traffic of an optimizer step of a recipe on some ranks.

    Args:
        setup: the recipe, opened.
        ranks: hosts and ranks on each.
        passes: what its passes keep, and the order of modules in them; see `measure_pass`.

    Raises:
        UserError: its DeepSpeed configuration or its batch cannot work on these ranks.
    """
    train, zero = setup.config.train, ZeroSettings.of(setup.config, ranks)
    micro_steps = micro_steps_of(train, ranks.world)
    model = _Sizes.of(setup)
    if zero.stage < 3:
        return _of_replicas(model, zero, micro_steps, ranks)
    return _of_shards(model, zero, micro_steps, ranks, passes)


@dataclass(frozen=True)
class _Sizes:
    """Elements of each parameter, numbers of those that are trained, bytes of an element."""

    all: list[int]
    trained: frozenset[int]
    width: int

    @classmethod
    def of(cls, setup: Setup) -> _Sizes:
        parameters = list(build_model(setup).parameters())
        trained = frozenset(at for at, one in enumerate(parameters) if one.requires_grad)
        width = DTYPES[setup.config.backbone.dtype].itemsize
        return cls([one.numel() for one in parameters], trained, width)

    def sum(self, numbers: frozenset[int]) -> int:
        return sum(self.all[one] for one in numbers)


def _of_replicas(model: _Sizes, zero: ZeroSettings, micro_steps: int, ranks: Cluster) -> Traffic:
    """Below stage 3 weights are everywhere; both stages reduce by all-reduce."""
    total = model.sum(model.trained)
    # Stage 1 reduces what a step has summed, stage 2 each micro-step.
    times = 2 * (micro_steps if zero.stage == 2 else 1)
    gradients = _ring(times * zero.reduced_bytes * total, ranks.world)
    updates = _ring(model.width * total, ranks.world) if zero.stage else 0
    return Traffic(0, gradients, updates, 0, _across(gradients + updates, ranks))


def _of_shards(
    model: _Sizes, zero: ZeroSettings, micro_steps: int, ranks: Cluster, passes: PassMemory
) -> Traffic:
    kept, world = persistent_parameters(model.all, zero), ranks.world
    uses = with_whole_layers(passes.uses, model.all, zero)
    gathered = elements_gathered(uses, model.all, kept, zero.reuse)
    whole = model.width * micro_steps * gathered
    gradients = _ring(micro_steps * zero.reduced_bytes * model.sum(model.trained), world)
    # After each step those are gathered anew that stay whole and have changed.
    updates = _ring(model.width * model.sum(kept & model.trained), world)
    # hpZ: what is frozen never leaves its host again, what is trained once, in its new values.
    far = whole if zero.second_copy == 1 else model.width * model.sum(model.trained - kept)
    gathers = _ring(far, world) + _ring(whole - far, zero.second_copy)
    from_host = 0 if zero.weights_on == "none" else whole // world
    across = _across(_ring(far, world) + gradients + updates, ranks)
    return Traffic(gathers, gradients, updates, from_host, across)


def elements_gathered(
    uses: Sequence[ModuleUse], sizes: Sequence[int], persistent: frozenset[int], reuse: int
) -> int:
    """Elements that ZeRO-3 gathers in a micro-step, those that it gathers again among them.

    A parameter stays until its next use where that is near; but what a checkpointed layer's
    repeated forward pass has used is given back and gathered once more for its backward pass.
    Gathering ahead changes the moment alone.

    Args:
        uses: modules in the order in which they run.
        sizes: elements of each parameter.
        persistent: numbers of those that are never given back.
        reuse: elements within which a next use is near.
    """
    own = [[one for one in use.parameters if one not in persistent] for use in uses]
    before = [0, *accumulate(sum(sizes[one] for one in numbers) for numbers in own)]
    later: dict[int, list[int]] = defaultdict(list)  # uses that are still to come, the next last
    for step in reversed(range(len(uses))):
        for one in own[step]:
            later[one].append(step)
    held, total, backward = set[int](), 0, False
    for step, use in enumerate(uses):
        backward |= use.backward
        repeated = backward and not use.backward
        for one in own[step]:
            total += 0 if one in held else sizes[one]
            held.discard(one)
            later[one].pop()
            near = later[one] and before[later[one][-1]] - before[step + 1] < reuse
            if near and not repeated:
                held.add(one)
    return total


def _ring(size: int, ranks: int) -> int:
    """Bytes that one of some ranks sends while so many are gathered or scattered."""
    return size * (ranks - 1) // ranks


def _across(sent: int, ranks: Cluster) -> int:
    return sent if ranks.hosts > 1 else 0
