"""Operators as a device would run them, for passes on the meta device.

There attention is written out, dropout makes a mask of floats, and nothing that asks for a value
can be answered. Real devices have kernels that keep less, and batches have values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.bias import CausalBias
from torch.overrides import TorchFunctionMode

from ptv2_scale.backbones.bottom_right import bottom_right_mask
from ptv2_scale.backbones.shared_prefix import attention_with_sums

Device = Literal["cuda", "cpu"]
_ALIGNED = 16  # columns to which CUDA's attention pads a mask


class _FusedAttention(torch.autograd.Function):
    """What flash and memory-efficient attention make and keep: no matrix of scores."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        out = query.new_empty((*query.shape[:-1], value.shape[-1]))
        sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, mask, out, sums)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mask, _, sums = ctx.saved_tensors
        torch.empty_like(sums)  # of products of outputs and their gradients
        of_mask = torch.empty_like(mask) if ctx.needs_input_grad[3] else None
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value), of_mask


class _FlexAttention(torch.autograd.Function):
    """The same of FlexAttention, whose log-sum-exps have gradients."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        out = query.new_empty((*query.shape[:-1], value.shape[-1]))
        sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, out, sums)
        return out, sums

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        query, key, value, _, sums = ctx.saved_tensors
        torch.empty_like(sums)  # of products of outputs and their gradients
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


class KnownValues:
    """Values of a batch's tensors, which are on the meta device without them."""

    def __init__(self) -> None:
        # With the tensors themselves, so that no other one gets their id.
        self._known: dict[int, tuple[Tensor, Tensor]] = {}

    def on_meta(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors without their values, which are known here."""
        return {name: self._note(one.to("meta"), one) for name, one in given.items()}

    def _note(self, tensor: Tensor, value: Tensor) -> Tensor:
        self._known[id(tensor)] = (tensor, value)
        return tensor

    def of(self, tensor: Tensor) -> Tensor | None:
        """The values of a tensor; None: they are not known."""
        found = self._known.get(id(tensor))
        return None if found is None else found[1]

    def follow(self, func: Callable[..., Tensor], tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Run a function of one tensor, whose result is known where the tensor is."""
        made, value = func(tensor, *args, **kwargs), self.of(tensor)
        return made if value is None else self._note(made, func(value, *args, **kwargs))


class DeviceKernels(TorchFunctionMode):
    """Runs attention and dropout as a device does, and answers what needs values.

    A test of values is answered with False, so that masks are made though nothing may be padded;
    an index of booleans takes every place.

    Args:
        device: "cuda" or "cpu".
        values: of the batch.
    """

    def __init__(self, device: Device, values: KnownValues) -> None:
        super().__init__()
        self._device, self._values = device, values

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run a function."""
        given = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            return self._attend(func, *args, **given)
        if func is attention_with_sums:
            return self._attend_with_sums(*args, **given)
        if func is functional.dropout:
            return self._drop(func, *args, **given)
        replaced = _REPLACED.get(func)
        if replaced is not None:
            return replaced(func, self._values, *args, **given)
        return func(*args, **given)

    def _attend(
        self,
        attention: Callable[..., Tensor],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        **options: Any,
    ) -> Tensor:
        if isinstance(attn_mask, CausalBias) and self._device == "cuda":
            attn_mask = None  # a flag of a kernel
        attn_mask = written_out(attn_mask, query.device)
        learned = attn_mask is not None and attn_mask.requires_grad
        if self._device == "cpu" and (dropout_p or learned):
            return attention(query, key, value, attn_mask, dropout_p, **options)
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            attn_mask = self._additive(attn_mask, query.dtype)
        out: Tensor = _FusedAttention.apply(query, key, value, attn_mask)  # type: ignore[no-untyped-call]
        return out

    def _attend_with_sums(
        self, query: Tensor, key: Tensor, value: Tensor, *changed: Any
    ) -> tuple[Tensor, Tensor]:
        out: Tensor
        out, sums = _FlexAttention.apply(query, key, value)  # type: ignore[no-untyped-call]
        return out, sums

    def _additive(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        columns = mask.shape[-1]
        if self._device == "cuda":
            columns += -columns % _ALIGNED
        return mask.new_empty((*mask.shape[:-1], columns), dtype=dtype)

    def _drop(
        self,
        dropout: Callable[..., Tensor],
        input: Tensor,
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,
    ) -> Tensor:
        if self._device == "cpu" or not training or not p:
            return dropout(input, p, training, inplace)
        return torch.native_dropout(input, p, True)[0]  # its mask has a byte an element


def written_out(mask: Tensor | None, device: torch.device) -> Tensor | None:
    """A mask whose values are asked for, where it may be one that stands for a triangle."""
    if not isinstance(mask, CausalBias):
        return mask
    return bottom_right_mask(mask.seq_len_q, mask.seq_len_kv, device)


def _false(func: Any, values: KnownValues, *args: Any) -> bool:
    return False


def _read(func: Any, values: KnownValues, tensor: Tensor) -> Any:
    known = values.of(tensor)
    return func(tensor if known is None else known)


def _follow(func: Any, values: KnownValues, *args: Any, **kwargs: Any) -> Any:
    return values.follow(func, *args, **kwargs)


def _indexed(func: Any, values: KnownValues, tensor: Tensor, index: Any, *written: Any) -> Any:
    return func(tensor, _places(index), *written)


def _places(index: Any) -> Any:
    """Numbers of all places for an index of booleans; any other index as it is."""
    if isinstance(index, Tensor) and index.dtype == torch.bool:
        every = index.new_zeros(index.numel(), dtype=torch.long)
        return (every,) * index.dim()
    return index


_REPLACED: dict[Any, Callable[..., Any]] = {
    Tensor.__bool__: _false,
    Tensor.__int__: _read,
    Tensor.tolist: _read,
    Tensor.sum: _follow,
    Tensor.max: _follow,
    Tensor.__getitem__: _indexed,
    Tensor.__setitem__: _indexed,
}
