"""The prefix encoder: from a table, directly or through an MLP, to keys and values of every slot.

After Liu et al., "P-Tuning v2" (ACL 2022), and its official code. The flat layout of a prefix is
theirs and PEFT's: [length, slots * 2 * width], a row being slot 0's key, slot 0's value, slot 1's
key, ..., each kv_heads x head_dim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ptv2_scale.backbones.attention import Bound, BoundPrefix, Recorder
from ptv2_scale.backbones.binding import bind
from ptv2_scale.backbones.family import Config, Family, attention_modules
from ptv2_scale.backbones.mixed_prefix import mix_prefixes
from ptv2_scale.config import Prefix
from ptv2_scale.methods.base import Adapter, Entry
from ptv2_scale.methods.prefix.kept import KeptValues
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
        gates: trained gates of a slot, one a query head; 0: none.
    """

    length: int
    slots: tuple[tuple[str, int], ...]
    kv_heads: int
    head_dim: int
    hidden: int | None = None
    width: int = 0
    gates: int = 0

    @property
    def row(self) -> int:
        """Elements of one row of the flat layout."""
        return len(self.slots) * 2 * self.kv_heads * self.head_dim


class PrefixEntry(Entry):
    """A prefix, or a recorder in its place, bound for one forward pass.

    Args:
        bound: what attention sees.
        shift: positions that the text is moved by.
    """

    def __init__(self, bound: Bound, shift: int | Tensor = 0) -> None:
        self.bound, self.shift = bound, shift
        self.headless = isinstance(bound, Recorder)

    def bind(self) -> AbstractContextManager[None]:
        """See `Entry`."""
        return bind(self.bound)


def mixed_entry(entries: Sequence[PrefixEntry], owners: Tensor) -> PrefixEntry:
    """One entry for rows that each have the prefix of one of the entries; see `Method.mixer`.

    Shorter prefixes are filled up, and what fills them is hidden.
    """
    bound = [entry.bound for entry in entries]
    prefixes = [(one.keys_values, one.slots) for one in bound if isinstance(one, BoundPrefix)]
    shifts = owners.new_tensor([entry.shift for entry in entries])
    return PrefixEntry(mix_prefixes(prefixes, owners), shifts[owners][:, None])


class PrefixEncoder(Adapter):
    """Makes all slots' keys and values in one call; parameter names are the official code's.

    Args:
        shape: sizes of the prefix.
        slots: attention module -> row of the prefix's first axis.
        dropout: probability on keys and values while training.
        shift_positions: whether the prefix's tokens count as positions in front of the text.
        kept: what of a table keeps its first values.
    """

    def __init__(
        self,
        shape: PrefixShape,
        slots: Mapping[nn.Module, int] | None = None,
        dropout: float = 0.0,
        shift_positions: bool = True,
        kept: KeptValues | None = None,
    ) -> None:
        super().__init__()
        self.slots, self.dropout, self.shift_positions = slots or {}, dropout, shift_positions
        self.shape, self._kept = shape, kept or KeptValues()
        self.kept_elements = self._kept.elements(shape.length, shape.row)
        if shape.hidden is None:
            self.embedding = nn.Embedding(shape.length, shape.row)
            self.trans: nn.Module = nn.Identity()
        else:
            self.embedding = nn.Embedding(shape.length, shape.width)
            self.trans = nn.Sequential(
                nn.Linear(shape.width, shape.hidden), nn.Tanh(), nn.Linear(shape.hidden, shape.row)
            )

        if shape.gates:
            self.gate = nn.Embedding(len(shape.slots), shape.gates)

    def flat(self) -> Tensor:
        """The prefix in the flat layout, [length, slots * 2 * kv_heads * head_dim]."""
        weight = self.embedding.weight
        # A lookup, not the weight itself: under ZeRO-3 the gathered weight is freed after use.
        tokens = torch.arange(self.shape.length, device=weight.device)
        rows: Tensor = self.trans(self.embedding(tokens))
        return rows

    def forward(self) -> Tensor:
        """Keys and values, [slots, 2, kv_heads, length, head_dim]."""
        return self._kept.detached(unflatten(self.flat(), self.shape))

    def _gates(self, opened: float) -> Tensor | None:
        """[slots, heads], each between -1 and 1; see `entry`."""
        if not self.shape.gates:
            return None
        slots = torch.arange(len(self.shape.slots), device=self.gate.weight.device)
        return torch.tanh(self.gate(slots)) + opened

    def entry(
        self, key_lengths: dict[nn.Module, list[int]] | None = None, opened: float = 0.0
    ) -> PrefixEntry:
        """The prefix for one forward pass.

        Args:
            key_lengths: collects what each slot then saw.
            opened: added to gates, which let nothing through at first.
        """
        dropout = self.dropout if self.training else 0.0
        bound = BoundPrefix(self(), self.slots, dropout, key_lengths, self._gates(opened))
        return PrefixEntry(bound, self.shape.length if self.shift_positions else 0)


def unflatten(flat: Tensor, shape: PrefixShape) -> Tensor:
    """Flat layout -> [slots, 2, kv_heads, length, head_dim]."""
    sizes = (shape.length, len(shape.slots), 2, shape.kv_heads, shape.head_dim)
    return flat.view(sizes).permute(1, 2, 3, 0, 4)


def flatten(keys_values: Tensor) -> Tensor:
    """[slots, 2, kv_heads, length, head_dim] -> flat layout."""
    return keys_values.permute(3, 0, 1, 2, 4).reshape(keys_values.shape[3], -1)


def prefix_shape(prompt: Prefix, family: Family, config: Config) -> PrefixShape:
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
        gates=int(config.num_attention_heads) if prompt.gate else 0,
    )


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


def initial_values(prompt: Prefix, shape: PrefixShape, seed: int) -> dict[str, Tensor]:
    """The encoder's first values by parameter name, fp32, from the seed alone.

    "text" and "saved" start as "zero" does here; what they read is written over it later.
    """
    encoder = PrefixEncoder(shape)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(encoder.named_parameters()):
            if name == "embedding.weight":
                parameter.normal_(0.0, prompt.init_scale, generator=generator)
            elif parameter.dim() == 2 and name != "gate.weight":
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
