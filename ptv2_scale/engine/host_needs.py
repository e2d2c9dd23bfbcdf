"""What a DeepSpeed configuration needs of this host; DeepSpeed asks once weights are loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from deepspeed.accelerator import get_accelerator
from torch import nn

from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine.jit import NVME
from ptv2_scale.engine.nvme import buffer_problems, is_on_nvme
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.shared_fs_probe import nearest_folder

_FOLDERS = (("tensorboard", "output_path"), ("csv_monitor", "output_path"))


def check_host_needs(settings: dict[str, Any], model: nn.Module, ranks: RankContext) -> None:
    """Refuse a configuration that this host cannot serve.

    Args:
        settings: DeepSpeed's configuration, complete.
        model: that it is for.
        ranks: where this process stands.

    Raises:
        UserError: names all keys that ask for a device, a library or a folder that is not here.
    """
    found = [
        *_of_device(settings, ranks.device),
        *_of_nvme(settings, model, ranks),
        *_of_depth(settings, model),
    ]
    if ranks.first:  # which alone writes
        found += _of_outputs(settings)
    if found:
        raise UserError("\n".join(f"deepspeed: {problem}" for problem in found))


def _of_device(settings: dict[str, Any], device: torch.device) -> Iterator[str]:
    if settings.get("aio", {}).get("use_gds") and device.type != "cuda":
        yield (
            "aio.use_gds: found true, but ranks compute on the CPU, and GPUDirect Storage moves"
            " weights to GPUs of NVIDIA. Leave the key out"
        )


def _of_nvme(settings: dict[str, Any], model: nn.Module, ranks: RankContext) -> Iterator[str]:
    if not is_on_nvme(settings):
        return
    key = "zero_optimization.offload_param"
    builder = get_accelerator().create_op_builder(NVME)
    if builder is None or not builder.is_compatible():
        yield (
            f"{key}.device: found nvme, but DeepSpeed's {NVME} cannot be built here: it needs"
            " libaio with its headers (Debian: libaio-dev). Install it on every host, or keep"
            " weights in memory: zero3_offload_cpu"
        )
    folder = settings["zero_optimization"]["offload_param"]["nvme_path"]
    yield from _unusable(f"{key}.nvme_path", Path(folder))
    yield from buffer_problems(settings, model, ranks.world)


def _of_depth(settings: dict[str, Any], model: nn.Module) -> Iterator[str]:
    profiler = settings.get("flops_profiler", {})
    deepest = max(name.count(".") + 1 for name, _ in model.named_modules() if name)
    depth = profiler.get("module_depth", -1)
    if profiler.get("enabled") and depth > deepest:
        yield (
            f"flops_profiler.module_depth: found {depth}, but modules of this model are nested"
            f" {deepest} deep. Lower it, or write -1 for the deepest"
        )


def _of_outputs(settings: dict[str, Any]) -> Iterator[str]:
    for section, key in _FOLDERS:
        values = settings.get(section, {})
        if values.get("enabled") and values.get(key):
            yield from _unusable(f"{section}.{key}", Path(values[key]))
    profiler = settings.get("flops_profiler", {})
    if profiler.get("enabled") and profiler.get("output_file"):
        file = Path(profiler["output_file"])
        if file.is_dir():
            yield f"flops_profiler.output_file: {file} is a folder. Name a file"
        yield from _unusable("flops_profiler.output_file", file.parent)


def _unusable(key: str, folder: Path) -> Iterator[str]:
    """What keeps a folder from being made or written."""
    there = next(one for one in (folder, *folder.absolute().parents) if os.path.lexists(one))
    if not there.is_dir():
        yield f"{key}: {there} is not a folder. Name another one"
    elif not os.access(nearest_folder(folder), os.W_OK | os.X_OK):
        yield f"{key}: {there} cannot be written. Name another folder"
