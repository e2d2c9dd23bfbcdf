"""Whether a recipe fits a device, and what would make it fit: each way is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ptv2_scale.config import RunConfig
from ptv2_scale.estimate.kernels import Device
from ptv2_scale.estimate.memory import MemoryEstimate, estimate_memory
from ptv2_scale.estimate.passes import Measure, MeasuredPasses, measure_pass
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.model.setup import Setup, build_model
from ptv2_scale.runtime.errors import UserError

Verdict = Literal["fits", "close", "does not fit"]
# An estimate is within so much of what is measured.
BAND = 0.1
_MOST_RANKS = 1024
_SHORTEST = 32
_INT8 = "backbone.quantization=int8"

# Opens the recipe with more key=value words.
Reopen = Callable[[Sequence[str]], Setup]


@dataclass(frozen=True)
class Remedy:
    """A way to need less.

    Attributes:
        words: key=value, as on the command line.
        ranks: hosts and ranks on each.
        total: bytes of a rank that it would take; see `needed`.
    """

    words: tuple[str, ...]
    ranks: Cluster
    total: int


def verdict(total: int, limit: int) -> Verdict:
    """Whether an estimate fits a limit; between "fits" and "does not fit" it may be wrong."""
    if total * (1 + BAND) <= limit:
        return "fits"
    return "close" if total * (1 - BAND) <= limit else "does not fit"


def estimate(
    setup: Setup, ranks: Cluster, device: Device, measure: Measure = measure_pass
) -> MemoryEstimate:
    """Memory of a recipe; see `estimate_memory` and `measure_pass`.

    Args:
        setup: the recipe, opened.
        ranks: hosts and ranks on each.
        device: of the ranks.
        measure: measures passes; one that remembers saves time where several recipes are alike.
    """
    return estimate_memory(setup, ranks, measure(setup, device))


def needed(found: MemoryEstimate, ranks: Cluster, device: Device) -> int:
    """Bytes of a rank; on a CPU, its part of what is offloaded to its host, too."""
    return found.total + (found.host // ranks.per_host if device == "cpu" else 0)


def fits(
    setup: Setup, ranks: Cluster, device: Device, limit: int | None, measure: Measure = measure_pass
) -> bool:
    """Whether a recipe fits for certain.

    Args:
        setup: see `estimate`.
        ranks: see there.
        device: see there.
        limit: bytes of a rank; None: they are not known, and taken to be enough.
        measure: see there.
    """
    if limit is None:
        return True
    total = needed(estimate(setup, ranks, device, measure), ranks, device)
    return verdict(total, limit) == "fits"


def remedies(
    reopen: Reopen, ranks: Cluster, device: Device, limit: int, measure: Measure | None = None
) -> list[Remedy]:
    """Ways to make a recipe fit: each change alone, and all together where none is enough.

    Args:
        reopen: opens the recipe, which says nothing of `deepspeed: auto`.
        ranks: hosts and ranks on each.
        device: of the ranks.
        limit: bytes of a rank's device.
        measure: see `estimate`.

    Returns:
        Those that fit, the one that needs most memory first; empty: nothing that is tried does.
    """
    return _Search(reopen, ranks, device, limit, measure or MeasuredPasses()).found()


class _Search:
    def __init__(
        self, reopen: Reopen, ranks: Cluster, device: Device, limit: int, measure: Measure
    ) -> None:
        self._reopen, self._ranks, self._device, self._limit = reopen, ranks, device, limit
        self._measure = measure

    def found(self) -> list[Remedy]:
        config = self._reopen(()).config
        changes = list(_changes(config, self._quantises()))
        alone = [self._try((word,), self._ranks) for words in changes for word in words]
        fitting = [one for one in (*alone, self._more_ranks(())) if one is not None]
        if not fitting:
            # Of two words for one key the last one counts.
            combined = tuple(words[-1] for words in changes if words)
            both = (self._try(combined, self._ranks), self._more_ranks(combined))
            fitting = [one for one in both if one is not None]
        return sorted(fitting, key=lambda one: one.total, reverse=True)

    def _quantises(self) -> bool:
        """Whether the backbone's weights can be kept in fewer bits than they are."""
        if self._reopen(()).config.backbone.quantization is not None:
            return False
        try:
            build_model(self._reopen((_INT8,)))
        except UserError:
            return False
        return True

    def _more_ranks(self, words: tuple[str, ...]) -> Remedy | None:
        hosts = self._ranks.hosts
        while (hosts := 2 * hosts) * self._ranks.per_host <= _MOST_RANKS:
            one = self._try(words, Cluster(hosts, self._ranks.per_host))
            if one is not None:
                return one
        return None

    def _try(self, words: tuple[str, ...], ranks: Cluster) -> Remedy | None:
        try:
            found = estimate(self._reopen(words), ranks, self._device, self._measure)
        except UserError:  # not with this recipe
            return None
        total = needed(found, ranks, self._device)
        return Remedy(words, ranks, total) if verdict(total, self._limit) == "fits" else None


def _changes(config: RunConfig, quantises: bool) -> Iterator[list[str]]:
    """Words that make a recipe smaller, a list for each key."""
    train = config.train
    all_layers = train.gradient_checkpointing is True
    yield [] if all_layers else ["train.gradient_checkpointing=true"]
    smaller = sorted({train.examples // 2, 1} - {0, train.examples}, reverse=True)
    yield [f"train.micro_batch={size}" for size in smaller]
    length = config.task.longest // 2
    alone = "task" in config.task.single
    yield [f"task.max_length={length}"] if alone and length >= _SHORTEST else []
    sharded = [] if config.deepspeed.startswith("zero3") else ["deepspeed=zero3"]
    offloaded = [] if "offload" in config.deepspeed else ["deepspeed=zero3_offload_cpu"]
    yield [*sharded, *offloaded]
    yield [_INT8] if quantises else []
