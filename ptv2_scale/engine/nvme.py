"""Weights on NVMe: which ones, and the buffers in memory that DeepSpeed reads them into.

A weight that is read takes one of a few buffers, all of one size, and keeps it until the weight is
given back: when its module has run, or, of a layer that is computed again in the backward pass,
when its backward pass is over. DeepSpeed ends where a weight is larger than a buffer or none is
free, so both numbers follow from the model. What stays in memory instead: weights that every rank
keeps whole, small ones, trained ones, and those that would make all buffers larger than it is
worth (the table of a large vocabulary).
"""

from __future__ import annotations

import copy
import os
import resource
from collections.abc import Iterator
from typing import Any

from deepspeed.runtime.swap_tensor.utils import MIN_AIO_BYTES
from torch import nn

from ptv2_scale.backbones.attention import checkpointable_layers

_PERSISTENT = 100_000  # DeepSpeed's own default, in elements
# Beside a layer's: a table of embeddings, and a projection that shares one.
_BESIDE_A_LAYER = 2


def is_on_nvme(settings: dict[str, Any]) -> bool:
    """Whether a complete DeepSpeed configuration keeps weights on NVMe."""
    return (settings["zero_optimization"].get("offload_param") or {}).get("device") == "nvme"


def with_buffers(settings: dict[str, Any], model: nn.Module, world: int) -> dict[str, Any]:
    """A DeepSpeed configuration with buffers that a model's weights fit, where it says no numbers.

    Args:
        settings: complete; it is left as it is.
        model: the model, with or without values.
        world: number of ranks.
    """
    full = copy.deepcopy(settings)
    offload = full["zero_optimization"]["offload_param"]
    if offload.get("buffer_count", "auto") == "auto":
        offload["buffer_count"] = _count(settings, model, world)
    if offload.get("buffer_size", "auto") == "auto":
        offload["buffer_size"] = _size(_sizes(settings, model, world), offload["buffer_count"])
    return full


def goes_to_nvme(settings: dict[str, Any], parameter: nn.Parameter, world: int) -> bool:
    """Whether a parameter's shard is to be on NVMe.

    Args:
        settings: with a number of buffers and their size; see `with_buffers`.
        parameter: of the model, with or without values.
        world: number of ranks.
    """
    largest = settings["zero_optimization"]["offload_param"]["buffer_size"]
    return _may_go(settings, parameter, world) and _shard(parameter, world) <= largest


def buffer_bytes(settings: dict[str, Any]) -> int:
    """Bytes that the buffers take on each rank, of a configuration that has their numbers."""
    offload = settings["zero_optimization"]["offload_param"]
    return int(offload["buffer_count"] * offload["buffer_size"] * _width(settings))


def locked_limit() -> float:
    """Bytes that this process may lock in memory."""
    if os.geteuid() == 0:
        return float("inf")
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return float("inf") if limit == resource.RLIM_INFINITY else limit


def _count(settings: dict[str, Any], model: nn.Module, world: int) -> int:
    """The most weights that are in use at once: those of a layer, and a few."""
    layers = (_sizes(settings, layer, world) for layer in checkpointable_layers(model))
    return max(map(len, layers), default=0) + _BESIDE_A_LAYER


def _size(sizes: list[int], count: int) -> int:
    """The size with which buffers, and what is too large for them, take the least memory."""

    def memory(size: int) -> int:
        return count * size + sum(one for one in sizes if one > size)

    smallest = MIN_AIO_BYTES  # elements: there is nothing to be read
    return min(sorted(set(sizes), reverse=True), key=memory, default=smallest)


def _sizes(settings: dict[str, Any], model: nn.Module, world: int) -> list[int]:
    return [_shard(one, world) for one in model.parameters() if _may_go(settings, one, world)]


def _may_go(settings: dict[str, Any], parameter: Any, world: int) -> bool:
    zero = settings["zero_optimization"]
    persistent = zero.get("stage3_param_persistence_threshold", "auto")
    kept = _PERSISTENT if persistent == "auto" else persistent
    smallest = max(MIN_AIO_BYTES, settings.get("aio", {}).get("block_size", 0))
    large = _shard(parameter, world) * _width(settings) >= smallest
    readable = parameter.itemsize == _width(settings)  # buffers are of one number format
    return bool(large and readable and _elements(parameter) > kept and not parameter.requires_grad)


def _elements(parameter: Any) -> int:
    """Of the whole parameter, which may be sharded already."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def _shard(parameter: Any, world: int) -> int:
    return -(-_elements(parameter) // world)


def _width(settings: dict[str, Any]) -> int:
    return 2 if settings.get("bf16", {}).get("enabled") else 4


def buffer_problems(settings: dict[str, Any], model: nn.Module, world: int) -> Iterator[str]:
    """What of a configuration's buffers cannot work on this host, key by key."""
    full = with_buffers(settings, model, world)
    needed = buffer_bytes(full)
    if needed > locked_limit():
        yield (
            f"zero_optimization.offload_param: DeepSpeed locks its buffers in memory, {needed:,}"
            f" bytes of each rank, and {locked_limit():,.0f} are allowed here (ulimit -l). Raise"
            " that limit on every host, or keep weights in memory: zero3_offload_cpu"
        )
    least = _count(settings, model, world)
    found = full["zero_optimization"]["offload_param"]["buffer_count"]
    if found < least:
        yield (
            f"zero_optimization.offload_param.buffer_count: found {found}, but {least} weights of"
            " this model can be in use at once. Leave the key out"
        )
