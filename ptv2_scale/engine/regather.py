"""Gathered weights that are given back after the forward pass, and gathered again in backward.

A linear layer's gradient with respect to its input needs its weight, so autograd saves the weight,
and with it the memory in which ZeRO-3 gathered it: without checkpointing a whole backbone would be
on every rank when the backward pass begins. DeepSpeed's own linear module, which avoids that, is
put in by `zero.Init` while a model is built, and it is for `nn.Linear` alone.

Here autograd saves which parameter it was. Before a module's backward pass DeepSpeed gathers its
parameters anyway, for it cannot know that autograd has kept them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deepspeed.runtime.zero.offload_config import OffloadDeviceEnum
from deepspeed.runtime.zero.partition_parameters import ZeroParamStatus, is_zero_param
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


def gather_again_in_backward(model: nn.Module) -> None:
    """Make forward passes of a model save no gathered weight, whatever module uses it.

    Layers that are checkpointed save nothing of this kind, and their hooks come before these.

    Args:
        model: its parameters are DeepSpeed's, of stage 3.
    """
    saving: list[saved_tensors_hooks] = []

    def enter(*_: Any) -> None:
        saving.append(saved_tensors_hooks(_pack, _unpack))
        saving[-1].__enter__()

    def leave(*_: Any) -> None:
        saving.pop().__exit__()

    model.register_forward_pre_hook(enter)
    model.register_forward_hook(leave, always_call=True)


@dataclass(frozen=True)
class _SavedWeight:
    """A view of a parameter: its place is counted from the parameter's first element."""

    parameter: Any
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


def _pack(tensor: Tensor) -> Tensor | _SavedWeight:
    parameter = tensor if tensor._base is None else tensor._base
    if not is_zero_param(parameter):
        # Not the tensor itself: an output that is saved would keep its own graph alive.
        return tensor.detach()
    offset = int(tensor.storage_offset()) - int(parameter.storage_offset())
    return _SavedWeight(parameter, tuple(tensor.shape), tensor.stride(), offset)


def _unpack(saved: Tensor | _SavedWeight) -> Tensor:
    if isinstance(saved, Tensor):
        return saved
    whole = _gathered(saved.parameter)
    return whole.as_strided(saved.size, saved.stride, whole.storage_offset() + saved.offset)


def _gathered(parameter: Any) -> Tensor:
    """Values of a parameter, whole; gathered for this one use where DeepSpeed has not done it."""
    if parameter.ds_status is ZeroParamStatus.AVAILABLE:
        found: Tensor = parameter.detach()
        return found
    parameter.all_gather()
    found = parameter.detach()
    if parameter.ds_tensor.final_location == OffloadDeviceEnum.nvme:
        found = found.clone()  # on one rank it is in the buffer of whatever is read next
    parameter.partition()  # gives the parameter no memory, and leaves `found` its own
    return found
