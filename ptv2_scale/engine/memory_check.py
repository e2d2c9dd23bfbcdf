"""Whether a recipe fits the memory of the ranks that are to run it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ptv2_scale.config import override
from ptv2_scale.distributed.leaders import on_first_rank
from ptv2_scale.distributed.memory import available_memory
from ptv2_scale.distributed.ranks import RankContext, gather
from ptv2_scale.estimate.fitting import Remedy, estimate, needed, remedies, verdict
from ptv2_scale.estimate.kernels import Device
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.model.setup import Setup, open_shapes
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.memory import GB


@dataclass(frozen=True)
class RankMemory:
    """What the ranks of a run have, as estimates take it.

    Attributes:
        cluster: hosts and ranks on each.
        device: of the ranks.
        limit: bytes that the rank with the least memory can still use.
    """

    cluster: Cluster
    device: Device
    limit: int

    @classmethod
    def of(cls, ranks: RankContext) -> RankMemory:
        """Ask all ranks; every rank calls it, before it loads weights."""
        limit = min(gather(available_memory(ranks), ranks))
        return cls(Cluster.of(ranks), "cuda" if ranks.device.type == "cuda" else "cpu", limit)


def check_memory(setup: Setup, chosen: Sequence[str], ranks: RankContext) -> None:
    """Refuse a run whose estimate is too large, before it loads weights; every rank calls it.

    Args:
        setup: the recipe, opened.
        chosen: what the run has just chosen for keys that say `auto`, as key=value.
        ranks: where this process stands.

    Raises:
        UserError: on every rank alike; it does not fit, and `train.check_memory` is on.
    """
    layers = setup.config.train.gradient_checkpointing
    just_chosen = any(word.startswith("train.gradient_checkpointing=") for word in chosen)
    # A method whose gradient does not pass the backbone has no layers to choose, fit or not.
    looked = just_chosen and setup.method.trains_through_backbone
    if not setup.config.train.check_memory or (looked and layers is not True):
        return  # what was chosen so that it fits does fit
    memory = RankMemory.of(ranks)
    on_first_rank(ranks, lambda: _refuse_too_large(setup, memory))


def _refuse_too_large(setup: Setup, memory: RankMemory) -> None:
    found = estimate(setup, memory.cluster, memory.device)
    total = needed(found, memory.cluster, memory.device)
    if verdict(total, memory.limit) != "does not fit":
        return
    raise UserError(
        f"this run does not fit: by its shapes a rank needs about {total / GB:.3g} GB, and"
        f" {memory.limit / GB:.3g} GB are free for one here (10^9 bytes;"
        f" {memory.cluster.hosts} hosts x {memory.cluster.per_host} ranks)."
        f" {_ways(setup, memory)}"
        " `ptv2-scale plan` shows what takes the memory; train.check_memory=false starts the run"
        " all the same."
    )


def _ways(setup: Setup, memory: RankMemory) -> str:
    def reopen(words: Sequence[str]) -> Setup:
        return open_shapes(override(setup.config, list(words)))

    ways = remedies(reopen, memory.cluster, memory.device, memory.limit)
    if not ways:
        return "No change that was tried makes it fit."
    return "Each of these would make it fit: " + "; ".join(_said(one, memory) for one in ways) + "."


def _said(way: Remedy, memory: RankMemory) -> str:
    more = [] if way.ranks == memory.cluster else [f"{way.ranks.hosts} hosts"]
    return f"{' '.join([*way.words, *more])} ({way.total / GB:.3g} GB)"
