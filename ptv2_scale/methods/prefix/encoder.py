"""The prefix encoder: from a table, directly or through an MLP, to keys and values of every slot.

After Liu et al., "P-Tuning v2" (ACL 2022), and its official code. The flat layout of a prefix is
theirs and PEFT's: [length, slots * 2 * width], a row being slot 0's key, slot 0's value, slot 1's
key, ..., each kv_heads x head_dim.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ptv2_scale.backbones.family import Config, Family, attention_modules
from ptv2_scale.config import HeadOnly
from ptv2_scale.config import Prefix as PrefixConfig
from ptv2_scale.runtime.errors import UserError


@dataclass(frozen=True)
class PrefixShape:
    """Sizes of a prefix.

    Attributes:
        length: prefix tokens.
        slots: prompted attention modules, as (slot, layer counted from 0), in the flat order.
        kv_heads: key/value heads of a slot.
        head_dim: width of a head.
        hidden: width of the MLP; None: a plain table.
        width: width of the MLP's input, the backbone's own; unused for a table.
    """

    length: int
    slots: tuple[tuple[str, int], ...]
    kv_heads: int
    head_dim: int
    hidden: int | None = None
    width: int = 0

    @property
    def row(self) -> int:
        """Elements of one row of the flat layout."""
        return len(self.slots) * 2 * self.kv_heads * self.head_dim


class PrefixEncoder(nn.Module):
    """Makes all slots' keys and values in one call; parameter names are the official code's."""

    def __init__(self, shape: PrefixShape) -> None:
        super().__init__()
        self.shape = shape
        if shape.hidden is None:
            self.embedding = nn.Embedding(shape.length, shape.row)
            self.trans: nn.Module = nn.Identity()
        else:
            self.embedding = nn.Embedding(shape.length, shape.width)
            self.trans = nn.Sequential(
                nn.Linear(shape.width, shape.hidden), nn.Tanh(), nn.Linear(shape.hidden, shape.row)
            )

    def flat(self) -> Tensor:
        """The prefix in the flat layout, [length, slots * 2 * kv_heads * head_dim]."""
        weight = self.embedding.weight
        # A lookup, not the weight itself: under ZeRO-3 the gathered weight is freed after use.
        tokens = torch.arange(self.shape.length, device=weight.device)
        rows: Tensor = self.trans(self.embedding(tokens))
        return rows

    def forward(self) -> Tensor:
        """Keys and values, [slots, 2, kv_heads, length, head_dim]."""
        return unflatten(self.flat(), self.shape)


def unflatten(flat: Tensor, shape: PrefixShape) -> Tensor:
    """Flat layout -> [slots, 2, kv_heads, length, head_dim]."""
    sizes = (shape.length, len(shape.slots), 2, shape.kv_heads, shape.head_dim)
    return flat.view(sizes).permute(1, 2, 3, 0, 4)


def flatten(keys_values: Tensor) -> Tensor:
    """[slots, 2, kv_heads, length, head_dim] -> flat layout."""
    return keys_values.permute(3, 0, 1, 2, 4).reshape(keys_values.shape[3], -1)


def prefix_shape(prompt: PrefixConfig, family: Family, config: Config) -> PrefixShape:
    """Sizes of the prefix that a recipe asks for on a backbone.

    Args:
        prompt: the recipe's section.
        family: the backbone's family.
        config: the backbone's configuration.

    Raises:
        UserError: a slot or layer that the backbone does not have.
    """
    names = [stack.slot for stack in family.stacks]
    wanted = names if prompt.slots == "all" else list(prompt.slots)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise UserError(
            f"prompt.slots: {family.name} has no slot '{unknown[0]}'; it has {', '.join(names)}."
        )
    slots = tuple(
        (stack.slot, layer)
        for stack in family.stacks
        if stack.slot in wanted
        for layer in prompt.layer_numbers(stack.layers(config))
    )
    hidden = prompt.hidden if prompt.encoder == "mlp" else None
    return PrefixShape(
        length=prompt.length,
        slots=slots,
        kv_heads=family.kv_heads(config),
        head_dim=family.head_dim(config),
        hidden=hidden,
        width=int(config.hidden_size),
    )


def check_room(
    prompt: PrefixConfig | HeadOnly, family: Family, config: Config, max_length: int
) -> None:
    """Refuse a text that, with its prefix, is longer than the backbone's positions or window.

    Raises:
        UserError: names both lengths and the room there is.
    """
    length = prompt.length if isinstance(prompt, PrefixConfig) else 0
    shifted = family.shifts and isinstance(prompt, PrefixConfig) and prompt.positions == "shift"
    shift = length if shifted else 0
    room = family.position_room(config)
    if room is not None and shift + max_length > room:
        raise UserError(
            f"prompt.length and task.max_length: {shift} prefix tokens and {max_length} text tokens"
            f" are longer than {family.name}'s position table, which has room for {room}."
            f" {_ways_out(shift, max_length, room)}."
        )
    window = getattr(config, "sliding_window", None)
    if window is not None and length + max_length > window:
        raise UserError(
            f"prompt.length and task.max_length: {length} + {max_length} tokens are longer"
            f" than this backbone's sliding window of {window}, which would hide the prefix."
        )


def _ways_out(shift: int, max_length: int, room: int) -> str:
    ways = [f"lower task.max_length to {room - shift}"] if room > shift else []
    if room > max_length:
        ways.append(f"lower prompt.length to {room - max_length}")
    if shift and room >= max_length:
        ways.append("set prompt.positions: keep")
    text = ", or ".join(ways) or "lower both prompt.length and task.max_length"
    return text[0].upper() + text[1:]


def slot_modules(
    shape: PrefixShape, family: Family, backbone: nn.Module, config: Config
) -> dict[nn.Module, int]:
    """Attention module -> row of the prefix's first axis."""
    rows = {slot: row for row, slot in enumerate(shape.slots)}
    return {
        module: rows[slot, layer]
        for slot, layer, module in attention_modules(family, backbone, config)
        if (slot, layer) in rows
    }


def initial_values(prompt: PrefixConfig, shape: PrefixShape, seed: int) -> dict[str, Tensor]:
    """The encoder's first values by parameter name, fp32, from the seed alone.

    "text" and "saved" start as "zero" does here; what they read is written over it later.
    """
    encoder = PrefixEncoder(shape)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(encoder.named_parameters()):
            if name == "embedding.weight":
                parameter.normal_(0.0, prompt.init_scale, generator=generator)
            elif parameter.dim() == 2:
                # nn.Linear's own default, drawn from the seed: uniform within 1 / sqrt(inputs).
                bound = parameter.shape[1] ** -0.5
                parameter.uniform_(-bound, bound, generator=generator)
            else:
                parameter.zero_()
        if prompt.init != "random":
            last = encoder.embedding if shape.hidden is None else encoder.get_submodule("trans.2")
            for parameter in last.parameters():
                parameter.zero_()
    return {name: value.detach() for name, value in encoder.state_dict().items()}
