"""ZeRO-3 shards of a frozen backbone, made by DeepSpeed from slices that each rank reads itself."""

from __future__ import annotations

from typing import Any

import deepspeed
import torch
from torch import nn

from ptv2_scale.backbones.load import Shards, Unsharded
from ptv2_scale.distributed.ranks import RankContext


class Zero3Shards:
    """`Shards` over `deepspeed.zero.Init`.

    A parameter is handed to DeepSpeed as a whole tensor of which only this rank's slices hold
    values: partitioning copies just those. Done this way, hpZ's second shard and NVMe's swapped
    file are made from loaded weights, which filling the shards afterwards would miss.
    """

    def __init__(self, config: dict[str, Any], ranks: RankContext) -> None:
        self.device = ranks.device
        self._init = deepspeed.zero.Init(config_dict_or_path=config)

    def ranges(self, numel: int) -> list[tuple[int, int]]:
        """This rank's slice, and its slice of the host's second copy under hpZ."""
        init = self._init
        part = -(-numel // init.dp_world_size)
        ranges = [_within(numel, part, init.rank)]
        if init.zero_param_process_group is not None:
            second = part * init.dp_world_size // init.num_ranks_in_param_group
            ranges.append(_within(numel, second, init.rank_in_group))
        return [(start, stop) for start, stop in ranges if start < stop]

    def adopt(self, parameter: nn.Parameter) -> None:
        """Partition a parameter whose ranges are filled; the rest of it is never looked at."""
        # zero.Init's own road would broadcast the whole tensor from rank 0 first.
        self._init._convert_to_deepspeed_param(parameter)
        parameter.partition()  # type: ignore[attr-defined]


def clear_gradients(engine: Any) -> None:
    """Forget the gradients of the step before.

    ZeRO-3 keeps one buffer, in which a parameter that gets no gradient in a step (the head of
    another task) would still have its last one. Below stage 3 DeepSpeed takes zeros for it.
    """
    buffer = getattr(engine.optimizer, "grad_partitions_flat_buffer", None)
    if buffer is not None:
        buffer.zero_()


def _within(numel: int, part: int, index: int) -> tuple[int, int]:
    return min(part * index, numel), min(part * (index + 1), numel)


def shards_for(config: dict[str, Any], ranks: RankContext) -> Shards:
    """Shards for the ZeRO stage of a completed DeepSpeed configuration."""
    if config.get("zero_optimization", {}).get("stage", 0) == 3:
        return Zero3Shards(config, ranks)
    return Unsharded(torch.device(ranks.device))
