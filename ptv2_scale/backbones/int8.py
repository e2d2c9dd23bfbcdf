"""Linear layers whose frozen weight is kept in 8 bits, and computed with in the run's dtype.

As in LLM.int8() (Dettmers et al., NeurIPS 2022) without its outliers: a row w of a weight, which
makes one output, is the integers nearest to w / scale, where scale = max |w| / 127. The frozen
weight is dequantised for each product, as in QLoRA (Dettmers et al., NeurIPS 2023).

A row lies in a tensor of the run's dtype: its scale as the first element, then the bytes of its
integers, two or four to an element. So whatever shards, gathers or offloads weights takes it for
one that is half as large or a quarter, and only copies it; nothing may compute with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptv2_scale.backbones.attention import checkpointable_layers
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.pieces import PIECE

_LARGEST = 127  # as large below zero as above


def quantise(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Rows in 8 bits: each value differs from what it becomes by half a scale at most.

    Args:
        rows: fp32 [outputs, inputs]; the bytes of `inputs` integers fill whole elements.
        dtype: of the run; scales are rounded to it.

    Returns:
        [outputs, 1 + inputs / bytes of an element], of `dtype`. A scale is not finite where a value
        is not.
    """
    scales = (rows.abs().amax(dim=1, keepdim=True) / _LARGEST).to(dtype)
    steps = rows / torch.where(scales == 0, 1.0, scales.float())
    integers = steps.round_().clamp_(-_LARGEST, _LARGEST).to(torch.int8)
    return torch.cat((scales, integers.view(dtype)), dim=1)


def dequantise(packed: Tensor) -> Tensor:
    """The weight [outputs, inputs] that `quantise` has packed, of the dtype of `packed`."""
    return packed[:, 1:].view(torch.int8).to(packed.dtype).mul_(packed[:, :1])


class _Product(torch.autograd.Function):
    """`functional.linear`, which saves the packed weight: a backward pass dequantises it again."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(packed)
        return functional.linear(states, dequantise(packed), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (packed,), (gradient,) = ctx.saved_tensors, gradients
        states = gradient @ dequantise(packed) if ctx.needs_input_grad[0] else None
        bias = gradient.reshape(-1, gradient.shape[-1]).sum(0) if ctx.needs_input_grad[2] else None
        return states, None, bias


class Int8Linear(nn.Linear):
    """A linear layer whose weight is packed; see `quantise`."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        made: Tensor = _Product.apply(input, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return made

    @property
    def stored_shape(self) -> tuple[int, int]:
        """Outputs and inputs: the shape of the weight in a backbone's files."""
        return self.out_features, self.in_features

    @property
    def width(self) -> int:
        """Elements of a packed row, whether the weight is here or sharded."""
        return 1 + self.in_features // self.weight.itemsize

    def stored_range(self, start: int, stop: int) -> tuple[int, int]:
        """Elements in the files, whole rows, that make elements start..stop of the packed weight.

        Returns:
            The first, and one past the last.
        """
        first, last = start // self.width, -(-stop // self.width)
        return first * self.in_features, last * self.in_features

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        dtype = self.weight.dtype
        if fn(torch.empty(0, dtype=dtype, device=self.weight.device)).dtype != dtype:
            raise TypeError("weights in 8 bits are bytes: load the backbone in the dtype you want.")
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]


def quantise_layers(backbone: nn.Module, source: str) -> None:
    """Keep the linear layers of a backbone's layers in 8 bits; those of odd sizes stay.

    Args:
        backbone: frozen, on the meta device; its layers are changed in place.
        source: the folder, for the message.

    Raises:
        UserError: it has none of them.
    """
    linear = [
        module
        for layer in checkpointable_layers(backbone)
        for module in layer.modules()
        if type(module) is nn.Linear and module.in_features % module.weight.itemsize == 0
    ]
    if not linear:
        raise UserError(
            f"{source}: backbone.quantization: int8 is for the linear layers (torch.nn.Linear)"
            " inside of a backbone's layers, and this one has none of a width that fits; GPT-2's"
            " are of another kind. Leave the key out."
        )
    for module in linear:
        module.__class__ = Int8Linear
        made = cast(Int8Linear, module)
        packed = made.weight.new_empty(made.out_features, made.width)
        made.weight = nn.Parameter(packed, requires_grad=False)


def int8_layers(model: nn.Module) -> dict[str, Int8Linear]:
    """The layers in 8 bits, by the names of their weights."""
    modules = model.named_modules()
    return {f"{name}.weight": one for name, one in modules if isinstance(one, Int8Linear)}


def packed_parameters(model: nn.Module) -> int:
    """How many more parameters a model's packed weights stand for than they have elements."""
    layers = int8_layers(model).values()
    return sum(one.out_features * (one.in_features - one.width) for one in layers)


def fill_packed(
    layer: Int8Linear, read: Callable[[int, int], Tensor], start: int, target: Tensor
) -> None:
    """Fill elements of a packed weight from the rows that they are made of, some rows at a time.

    Args:
        layer: that the weight is of.
        read: (first, one past the last) -> elements of the stored weight, flat.
        start: the first element of the packed weight.
        target: where elements from `start` on go [n].

    Raises:
        ValueError: a number is not finite.
    """
    stop, inputs = start + target.numel(), layer.in_features
    low, high = layer.stored_range(start, stop)
    step = max(PIECE // inputs, 1) * inputs
    for first in range(low, high, step):
        rows = read(first, min(first + step, high)).float().view(-1, inputs)
        packed = quantise(rows, target.dtype)
        if not packed[:, 0].isfinite().all():
            raise ValueError("holds numbers that are not finite")
        begin = first // inputs * layer.width
        skipped = max(start - begin, 0)
        piece = packed.view(-1)[skipped : stop - begin]
        at = begin + skipped - start
        target[at : at + piece.numel()].copy_(piece)
