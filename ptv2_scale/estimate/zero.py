"""What a recipe's DeepSpeed configuration keeps where: ZeRO (Rajbhandari et al., SC 2020).

The rules are those of DeepSpeed 0.19, read in its source and compared with its allocations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ptv2_scale.config import RunConfig
from ptv2_scale.config.deepspeed import LARGEST_BUCKET, deepspeed_of, hpz_size, stage_of
from ptv2_scale.config.optimizer_offload import is_optimizer_offloaded
from ptv2_scale.distributed.ranks import RankContext

BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
_FP32 = 4


@dataclass(frozen=True)
class Cluster:
    """Where a run is planned.

    Attributes:
        hosts: number of hosts.
        per_host: ranks on each, one a GPU.
    """

    hosts: int = 1
    per_host: int = 1

    @classmethod
    def of(cls, ranks: RankContext) -> Cluster:
        """Where a run is, as seen by one of its ranks."""
        return cls(max(ranks.world // ranks.per_host, 1), ranks.per_host)

    @property
    def world(self) -> int:
        """Number of ranks."""
        return self.hosts * self.per_host


@dataclass(frozen=True)
class ZeroSettings:
    """A completed configuration, as far as memory follows from it; sizes in elements.

    Attributes:
        stage: of ZeRO.
        persistent: parameters of at most this size stay whole on every rank.
        most_persistent: elements of all of those.
        most_live: gathered elements beyond which nothing is gathered ahead.
        reuse: a parameter stays that is used again within so many elements.
        ahead: elements that are gathered ahead.
        bucket: elements of a bucket of gradients; None: all trained ones, up to DeepSpeed's own.
        second_copy: ranks that share hpZ's second copy of the weights; 1: there is none.
        weights_on: "none", "cpu" or "nvme".
        optimizer_on_cpu: whether masters, moments and gradients are on the host.
        gradient_bytes: of an element of the accumulated gradient.
        reduced_bytes: of an element of a gradient on its way between ranks.
    """

    stage: int
    persistent: int
    most_persistent: int
    most_live: int
    reuse: int
    ahead: int
    bucket: int | None
    second_copy: int
    weights_on: str
    optimizer_on_cpu: bool
    gradient_bytes: int
    reduced_bytes: int

    @classmethod
    def of(cls, config: RunConfig, ranks: Cluster) -> ZeroSettings:
        """The settings of a recipe.

        Raises:
            UserError: the configuration cannot work; see `deepspeed_of`.
        """
        full = deepspeed_of(config)
        zero, size = full["zero_optimization"], BYTES[config.backbone.dtype]
        bucket = zero.get("reduce_bucket_size", "auto")
        accumulated = full.get("data_types", {}).get("grad_accum_dtype") or config.backbone.dtype
        reduced = full.get("communication_data_type") or config.backbone.dtype
        return cls(
            stage=stage_of(full, config.backbone.dtype),
            persistent=_number(zero, "stage3_param_persistence_threshold", 100_000),
            most_persistent=_number(zero, "stage3_model_persistence_threshold", 2**63),
            most_live=_number(zero, "stage3_max_live_parameters", 10**9),
            reuse=_number(zero, "stage3_max_reuse_distance", 10**9),
            ahead=_number(zero, "stage3_prefetch_bucket_size", 50_000_000),
            bucket=None if bucket == "auto" else int(bucket),
            second_copy=_second_copy(zero, ranks),
            weights_on=str((zero.get("offload_param") or {}).get("device", "none")),
            optimizer_on_cpu=is_optimizer_offloaded(full),
            gradient_bytes=BYTES.get(accumulated, size),
            reduced_bytes=BYTES.get(reduced, size),
        )

    def gathers_whole(self, layer: int) -> bool:
        """Whether a frozen layer of so many elements is gathered as one.

        It arrives in one buffer and is copied out of it, so for a moment it is there twice. With
        weights on NVMe it is not: each of its weights would need a buffer of the host.
        """
        return 2 * layer <= self.most_live and self.weights_on != "nvme"

    def bucket_of(self, trained: int) -> int:
        """Elements of a bucket of gradients, where so many parameters are trained."""
        return min(max(trained, 1), LARGEST_BUCKET) if self.bucket is None else self.bucket


def _number(zero: dict[str, Any], key: str, default: int) -> int:
    found = zero.get(key, default)
    return default if found == "auto" else int(found)


def _second_copy(zero: dict[str, Any], ranks: Cluster) -> int:
    if "zero_hpz_partition_size" not in zero:
        return 1
    return hpz_size(zero, ranks.world, ranks.per_host)


def shard_elements(sizes: Sequence[int], ranks: int) -> int:
    """Elements of one rank's slices of parameters, each padded to a multiple of the ranks."""
    return sum(-(-size // ranks) for size in sizes)


def persistent_parameters(sizes: Sequence[int], zero: ZeroSettings) -> frozenset[int]:
    """Numbers of the parameters that ZeRO-3 keeps whole on every rank."""
    found, total = set(), 0
    for number, size in enumerate(sizes):
        if size <= zero.persistent and total + size <= zero.most_persistent:
            found.add(number)
            total += size
    return frozenset(found)


@dataclass(frozen=True)
class TrainedState:
    """What trained parameters take on one rank beside their weights, in bytes.

    Attributes:
        masters: fp32 values.
        moments: AdamW's two.
        gradients: as they are summed over micro-steps.
        buckets: gradients on their way between ranks.
        update: what only the optimizer's step makes: a gradient as it takes it, and its own.
    """

    masters: int
    moments: int
    gradients: int
    buckets: int
    update: int


def trained_state(sizes: Sequence[int], zero: ZeroSettings, ranks: int, width: int) -> TrainedState:
    """What trained parameters of some sizes take on one rank.

    Args:
        sizes: elements of each.
        zero: the configuration.
        ranks: number of ranks.
        width: bytes of an element of a weight.
    """
    if not sizes:
        return TrainedState(0, 0, 0, 0, 0)
    total, bucket = sum(sizes), zero.bucket_of(sum(sizes))
    own = shard_elements(sizes, ranks) if zero.stage == 3 else -(-total // ranks)
    # ZeRO-1 sums whole gradients; from stage 2 on a rank keeps its part of them.
    summed = zero.gradient_bytes * (total if zero.stage < 2 else own)
    if zero.stage == 3:
        buckets = zero.reduced_bytes * bucket
    elif zero.stage == 2:
        other = zero.reduced_bytes if zero.reduced_bytes != width else 0
        buckets = (width + other) * bucket
    else:
        buckets = zero.gradient_bytes * bucket
    return TrainedState(_FP32 * own, 2 * _FP32 * own, summed, buckets, 2 * _FP32 * own)
