"""A batch by two routes of attention: states of its texts, and gradients of a prefix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from tiny import batch_of
from torch import Tensor

from ptv2_scale.backbones.attention import BoundPrefix
from ptv2_scale.backbones.attention_routes import Route
from ptv2_scale.backbones.binding import bind, bind_right_padded
from ptv2_scale.backbones.family import Family, attention_modules
from ptv2_scale.backbones.load import load_backbone, open_backbone

PADDINGS = ("none", "right", "left")


@dataclass(frozen=True)
class Drawn:
    """A prefix for any backbone of one shape: values [layers, 2, kv_heads, length, d]."""

    values: Tensor
    gates: Tensor | None = None
    dropout: float = 0.0

    def bound(self, backbone: Any, family: Family) -> BoundPrefix:
        modules = attention_modules(family, backbone, backbone.config)[: len(self.values)]
        slots = {module: row for row, (_, _, module) in enumerate(modules)}
        gates = None if self.gates is None else self.gates.clone().requires_grad_()
        values = self.values.to(backbone.device, backbone.dtype).clone().requires_grad_()
        return BoundPrefix(values, slots, self.dropout, gates=gates)


def drawn(family: Family, config: Any, length: int, layers: int = 0, **options: Any) -> Drawn:
    """A random prefix of the first layers; 0: of all."""
    generator = torch.Generator().manual_seed(length)
    every = sum(stack.layers(config) for stack in family.stacks)
    shape = (layers or every, 2, family.kv_heads(config), length, family.head_dim(config))
    return Drawn(torch.randn(*shape, generator=generator), **options)


def made_by(
    backbone: Any, family: Family, padding: str, prefix: Drawn, known: bool | None = None
) -> tuple[Tensor, ...]:
    """States of a batch's texts, and the gradients of a prefix."""
    bound = prefix.bound(backbone, family)
    batch = {name: one.to(backbone.device) for name, one in batch_of(padding).items()}
    shift = prefix.values.shape[3]
    positions = family.position_ids(batch["attention_mask"], shift, backbone.config)
    extra = {} if positions is None else {"position_ids": positions}
    if family.encoder_decoder:
        extra["decoder_input_ids"] = batch["input_ids"][:, :4]
    with bind(bound), bind_right_padded(padding != "left" if known is None else known):
        states = backbone(**batch, **extra).last_hidden_state
    if not family.encoder_decoder:
        states = states[batch["attention_mask"].bool()]
    weights = torch.linspace(-1, 1, states.numel(), device=states.device).view_as(states)
    (states.float() * weights).sum().backward()
    gates = [] if bound.gates is None else [bound.gates.grad]
    assert bound.keys_values.grad is not None
    assert float(bound.keys_values.grad.abs().sum()) > 0
    return (states.detach(), bound.keys_values.grad, *gates)


def furthest(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    """The largest difference, as a part of the largest value."""
    pairs = zip(found, expected, strict=True)
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)


def both_routes(
    route: Route, folder: Path, dtype: Literal["bf16", "fp32"] = "fp32", dropout: float = 0.0
) -> tuple[Any, Any, Family]:
    """A backbone that attends by the plain route, another one by `route`, and their family."""
    plain, other = (
        load_backbone(folder, dtype=dtype, dropout=dropout, attention=one).train()
        for one in ("sdpa", route)
    )
    return plain, other, open_backbone(str(folder)).family
