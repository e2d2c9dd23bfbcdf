"""P-Tuning v2 (Liu et al., ACL 2022) as a method: keys and values in front of every layer's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.backbones.tensor_files import NamedTensors, Tensors, read_whole
from ptv2_scale.config import Prefix
from ptv2_scale.methods.base import Adapter, Inputs, Method, Mix, PeftFiles, RunModel
from ptv2_scale.methods.facts import Size, read_facts
from ptv2_scale.methods.init_text import init_tokens
from ptv2_scale.methods.prefix.encoder import (
    PrefixEncoder,
    PrefixShape,
    initial_values,
    mixed_entry,
    prefix_shape,
    slot_modules,
)
from ptv2_scale.methods.prefix.files import (
    flat_prefix,
    peft_config,
    read_flat_prefix,
)
from ptv2_scale.methods.prefix.guard import check_prefix
from ptv2_scale.methods.prefix.kept import KeptValues
from ptv2_scale.methods.prefix.warm_start import check_recordable, record_text
from ptv2_scale.methods.room import FrontTokens, check_room

_TABLE = "embedding.weight"
_GATE = "gate.weight"
_EXPORTED = "prefix"  # name of the flat prefix in an export
_EXPORTED_GATE = "gate"


@dataclass(frozen=True)
class PrefixFacts:
    """What a reader of an exported prefix must know beside the recipe.

    Attributes:
        length, slots, kv_heads, head_dim: see `PrefixShape`.
        every_slot: whether every attention module that can be prompted is.
        window: tokens that the backbone's layers with a sliding window see; None: it has none.
    """

    length: Size
    slots: tuple[tuple[str, int], ...]
    kv_heads: Size
    head_dim: Size
    every_slot: bool
    window: Size | None = None

    @property
    def shape(self) -> PrefixShape:
        """Sizes of the prefix, its MLP folded in."""
        return PrefixShape(self.length, self.slots, self.kv_heads, self.head_dim)


_FACTS = TypeAdapter(PrefixFacts)


class PrefixMethod(Method):
    """A prefix, table or MLP, in some or all attention modules."""

    ADAPTER: ClassVar[str] = "prefix_encoder"
    TAGS: ClassVar[tuple[str, ...]] = ("p-tuning-v2", "prefix-tuning")

    def __init__(self, section: Prefix, family: Family, config: Config) -> None:
        super().__init__(section, family, config)
        self.shape = prefix_shape(section, family, config)
        self._kept = KeptValues.of(section)

    @property
    def _shifts(self) -> bool:
        return self.family.shifts and self.section.positions == "shift"

    @property
    def front(self) -> int:
        """See `Method`."""
        return int(self.section.length)

    def check_length(self, max_length: int) -> None:
        """See `Method`."""
        shift, way = (
            (self.shape.length, "set prompt.positions: keep") if self._shifts else (0, None)
        )
        check_room(self.family, self.config, max_length, FrontTokens(0, shift, other_way=way))

    def slots(self) -> frozenset[str]:
        """See `Method`."""
        return frozenset(slot for slot, _ in self.shape.slots)

    def adapter(self, backbone: nn.Module) -> PrefixEncoder:
        """See `Method`."""
        slots = slot_modules(self.shape, self.family, backbone, self.config)
        shift = self.section.positions == "shift"
        return PrefixEncoder(self.shape, slots, self.section.dropout, shift, self._kept)

    def first_values(self, seed: int) -> dict[str, Tensor]:
        """See `Method`; "text" and "saved" start as "zero" does."""
        return initial_values(self.section, self.shape, seed)

    def check_start(self, tokenizer: Any) -> None:
        """See `Method`."""
        if self.section.init == "saved":
            read_flat_prefix(Path(self.section.init_from), self.shape)
        elif self.section.init == "text":
            self._text_tokens(tokenizer)

    def _text_tokens(self, tokenizer: Any) -> list[int]:
        length = self.shape.length
        tokens = init_tokens(self.section.init_text, length, tokenizer, self.family, self.config)
        check_recordable(length, self.family, self.config)
        return tokens

    def start_values(
        self,
        run: RunModel,
        adapter: Adapter | None,
        tokenizer: Any,
        seed: int,
        device: torch.device,
    ) -> dict[str, Tensor]:
        """See `Method`: a saved prefix, or what the backbone computes for a text."""
        if self.section.init == "saved":
            return {_TABLE: read_flat_prefix(Path(self.section.init_from), self.shape)}
        if self.section.init != "text":
            return {}
        assert isinstance(adapter, PrefixEncoder)
        tokens = self._text_tokens(tokenizer)
        flat = record_text(run, adapter, tokens, self.family.encoder_decoder, device)
        return {_TABLE: flat.float().cpu()}

    def guard(self, run: RunModel, model: Any, inputs: Inputs) -> None:
        """See `Method`."""
        check_prefix(run, model, inputs)

    def mixer(self) -> Mix | None:
        """See `Method`: gates are of one prefix's slots, so that prefixes with gates stay alone."""
        return None if self.section.gate else mixed_entry

    def describe(self) -> list[str]:
        """See `Method`."""
        shape, slots = self.shape, Counter(slot for slot, _ in self.shape.slots)
        counts = ", ".join(f"{count} {slot}" for slot, count in slots.items())
        return [
            f"prefix: {shape.length} tokens x {len(shape.slots)} slots ({counts})"
            f" x 2 x {shape.kv_heads} key/value heads x {shape.head_dim}",
            *self._kept.describe(),
        ]

    def facts(self) -> dict[str, Any]:
        """See `Method`."""
        every = sum(stack.layers(self.config) for stack in self.family.stacks)
        shape = self.shape
        facts = PrefixFacts(
            *(shape.length, shape.slots, shape.kv_heads, shape.head_dim),
            every_slot=len(shape.slots) == every,
            window=self.family.window(self.config),
        )
        found: dict[str, Any] = _FACTS.dump_python(facts, mode="json")
        return found

    @classmethod
    def to_export(cls, trained: Tensors) -> Tensors:
        """See `Method`: the flat prefix [length, row of `PrefixShape`], an MLP folded in."""
        table, gate = f"{cls.ADAPTER}.{_TABLE}", f"{cls.ADAPTER}.{_GATE}"
        gates = Tensors.of(trained, {gate} & set(trained.names()))
        gates = gates.renamed({gate: _EXPORTED_GATE})
        if not set(trained.names()) - {table, gate}:
            return Tensors.of(trained, [table]).renamed({table: _EXPORTED}).beside(gates)
        # An MLP is small beside its table, which is made here as a whole.
        flat = flat_prefix({name: read_whole(trained, name) for name in trained.names()})
        assert flat is not None
        return Tensors.of(NamedTensors({_EXPORTED: flat}), [_EXPORTED]).beside(gates)

    @classmethod
    def from_export(cls, tensors: Tensors) -> Tensors:
        """See `Method`."""
        stem = f"{cls.ADAPTER}."
        return tensors.renamed({_EXPORTED: stem + _TABLE, _EXPORTED_GATE: stem + _GATE})

    @classmethod
    def to_peft(cls, section: Prefix, facts: Mapping[str, Any], file: Path) -> PeftFiles | str:
        """See `Method`: PEFT's PREFIX_TUNING, or CARTRIDGE where the first tokens are frozen."""
        known = read_facts(_FACTS, facts)
        if not known.every_slot:
            return f"it prompts every layer, and this prefix is in layers {section.layers} only"
        if section.positions != "shift":
            return "it always shifts positions, and this prefix was trained with positions: keep"
        if section.gate:
            return "it has one attention over prefix and text, and this prefix has a gate"
        flat = read_flat_prefix(file, known.shape)
        # PEFT counts the prefix among the text, so that a window hides it.
        room = None if known.window is None else known.window - known.length
        tensors = {"prompt_embeddings": flat.contiguous()}
        config = peft_config(known.shape, section.frozen_tokens)
        return PeftFiles(config, tensors, max_length=room)
