"""The weights of a module that is on the meta device, each rank reading what it holds."""

from __future__ import annotations

from typing import Any

from torch import nn

from ptv2_scale.backbones.filling import Fill
from ptv2_scale.backbones.load import materialise
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine.nvme import is_on_nvme, with_buffers
from ptv2_scale.engine.sharding import shards_for
from ptv2_scale.runtime.heartbeat import report_progress
from ptv2_scale.runtime.progress import Progress

_SHOWN = 10**9  # bytes of a rank: less is there before anybody could read of it


def load_weights(
    module: nn.Module, fill: Fill, settings: dict[str, Any], ranks: RankContext
) -> None:
    """Fill a module's parameters as this rank holds them; the first rank shows how far it is.

    Args:
        module: on the meta device; its parameters are replaced in place.
        fill: see `materialise`.
        settings: the complete DeepSpeed configuration.
        ranks: where this process stands.
    """
    if is_on_nvme(settings):
        settings = with_buffers(settings, module, ranks.world)
    progress = Progress("bytes", "weights of the first rank")

    def report(done: int, total: int) -> None:
        report_progress("loading weights")
        if ranks.first and total >= _SHOWN:
            progress(done, total)

    materialise(module, fill, shards_for(settings, ranks), report)
