"""ZeRO-3 shards of a frozen backbone, as DeepSpeed has them, which each rank fills itself."""

from __future__ import annotations

import copy
import weakref
from pathlib import Path
from typing import Any

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator
from deepspeed.runtime.swap_tensor.partitioned_param_swapper import PartitionedParamStatus
from deepspeed.runtime.zero.offload_config import OffloadDeviceEnum
from deepspeed.runtime.zero.partition_parameters import free_param
from torch import Tensor, nn

from ptv2_scale.backbones.load import Shards, Unsharded
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine.jit import NVME, prepare_extensions
from ptv2_scale.engine.nvme import goes_to_nvme, is_on_nvme
from ptv2_scale.runtime.scratch import ScratchFolder


class Zero3Shards:
    """`Shards` over `deepspeed.zero.Init`.

    DeepSpeed would make a parameter's shard by copying it out of the whole tensor. Here the shard
    is allocated as DeepSpeed allocates it and filled where it is; so is hpZ's second shard, and
    what goes to NVMe is written out once it is filled.

    Args:
        config: complete; for NVMe with buffers that the model fits.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._init = (_init_on_nvme if is_on_nvme(config) else _init)(config)
        # DeepSpeed has a few buffers for what goes to NVMe, and one is taken with each shard.
        self.at_once = 16 if self._init.param_swapper is None else 1

    def ranges(self, numel: int) -> list[tuple[int, int]]:
        """This rank's slice, and its slice of the host's second copy under hpZ."""
        init = self._init
        part = -(-numel // init.dp_world_size)
        ranges = [_within(numel, part, init.rank)]
        if init.zero_param_process_group is not None:
            second = part * init.dp_world_size // init.num_ranks_in_param_group
            ranges.append(_within(numel, second, init.rank_in_group))
        return ranges

    def allocate(self, parameter: nn.Parameter) -> tuple[nn.Parameter, list[tuple[int, Tensor]]]:
        """A parameter as DeepSpeed has it, with shards of which all but padding is to be filled."""
        init = self._init
        # The memory of one element, in the shape of all: DeepSpeed takes shape and device from it.
        whole = torch.empty((), dtype=parameter.dtype, device=init.local_device)
        held: Any = nn.Parameter(whole.expand(parameter.shape), parameter.requires_grad)
        init._convert_to_deepspeed_param(held)
        held.ds_numel_aligned = init._aligned_size(held)
        held.ds_tensor = self._shard(held, held.ds_numel_aligned // init.dp_world_size)
        shards = [held.ds_tensor]
        if init.zero_param_process_group is not None:
            second = held.ds_numel_aligned // init.num_ranks_in_param_group
            held.ds_secondary_tensor = self._in_memory(second, held.dtype, init.remote_device)
            shards.append(held.ds_secondary_tensor)
        ranges = self.ranges(held.ds_numel)
        for (start, stop), shard in zip(ranges, shards, strict=True):
            shard[stop - start :].zero_()  # padding
        filled = [
            (start, shard[: stop - start])
            for (start, stop), shard in zip(ranges, shards, strict=True)
        ]
        return held, filled

    def adopt(self, parameter: nn.Parameter) -> None:
        """Leave a parameter whose shards are filled as DeepSpeed leaves one that it partitioned."""
        held: Any = parameter
        free_param(held)
        if held.ds_tensor.final_location == OffloadDeviceEnum.nvme:
            self._init.param_swapper.swap_out_and_release([held])

    def _shard(self, held: Any, numel: int) -> Tensor:
        init = self._init
        on_nvme = init.remote_device == OffloadDeviceEnum.nvme
        if on_nvme and goes_to_nvme(self._config, held, init.dp_world_size):
            shard = init.param_swapper.get_buffer(held, numel).detach()
            return _described(shard, OffloadDeviceEnum.nvme)
        if held.ds_persist:
            return self._in_memory(numel, held.dtype, init.local_device)
        return self._in_memory(numel, held.dtype, "cpu" if on_nvme else init.remote_device)

    def _in_memory(self, numel: int, dtype: torch.dtype, device: Any) -> Tensor:
        shard = torch.empty(numel, dtype=dtype, device=device)
        if device == OffloadDeviceEnum.cpu and self._init.pin_memory:
            shard = get_accelerator().pin_memory(shard)
        return _described(shard, None)


def _init(config: dict[str, Any]) -> Any:
    return deepspeed.zero.Init(config_dict_or_path=config)


def _init_on_nvme(config: dict[str, Any]) -> Any:
    """The same with swap files in a folder of this process's own.

    DeepSpeed names files after the rank alone, clears their folder when it starts and leaves them
    behind when it ends: two runs on one disk would take each other's weights.
    """
    prepare_extensions((NVME,))
    own = copy.deepcopy(config)
    offload = own["zero_optimization"]["offload_param"]
    folder = ScratchFolder(Path(offload["nvme_path"]))
    offload["nvme_path"] = str(folder.path)
    init = _init(own)
    handle = init.param_swapper.aio_read_handle
    buffers = init.param_swapper.buffers
    init.param_swapper.close = weakref.finalize(init, _close, folder, handle, buffers)
    return init


def _close(folder: ScratchFolder, handle: Any, buffers: Tensor) -> None:
    folder.remove()
    handle.free_cpu_locked_tensor(buffers)  # which would stay as long as the process


def release_shards(model: nn.Module) -> None:
    """Remove swap files and give back their buffers, once nothing runs in the model any more."""
    for parameter in model.parameters():
        close = getattr(getattr(parameter, "nvme_swapper", None), "close", None)
        if close is not None:
            close()


def _described(shard: Any, location: OffloadDeviceEnum | None) -> Tensor:
    """A shard with what DeepSpeed notes on one."""
    shard.ds_numel = shard.numel()
    shard.status = PartitionedParamStatus.AVAILABLE
    shard.final_location = location
    found: Tensor = shard
    return found


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
        return Zero3Shards(config)
    return Unsharded(torch.device(ranks.device))
