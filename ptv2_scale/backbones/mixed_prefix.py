"""Prefixes of several models, one for each row of a batch, in one forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptv2_scale.backbones.attention import Bound
from ptv2_scale.backbones.attention_call import AttentionCall


@dataclass(frozen=True)
class MixedPrefix(Bound):
    """Keys and values for the prompted attention modules of one forward pass, row by row.

    Attributes:
        keys_values: [prefixes, slots, 2, kv_heads, length, head_dim]; shorter prefixes are filled
            on the left.
        visible: [prefixes, slots, length], false where a prefix is filled, and in slots that it
            does not have.
        owners: [rows], the prefix of each row.
        slots: attention module -> its row in the axis of slots.
    """

    keys_values: Tensor
    visible: Tensor
    owners: Tensor
    slots: Mapping[nn.Module, int]

    def attend(self, slot: int, call: AttentionCall) -> Tensor:
        """See `Bound`."""
        keys = self._rows_of(slot, 0, call.key)
        values = self._rows_of(slot, 1, call.value)
        return call.behind_some(keys, values, self._masked(slot, call)).run()

    def _rows_of(self, slot: int, which: int, states: Tensor) -> Tensor:
        """Keys (0) or values (1) [rows, kv_heads, length, head_dim] for rows of states."""
        own: Tensor = self.keys_values[self._owners(states), slot, which]
        return own.to(states.dtype)

    def _masked(self, slot: int, call: AttentionCall) -> Tensor:
        """A mask [rows, heads or 1, n, length + m] that hides what is no row's own."""
        rows, queries, mask = call.query.shape[0], call.query.shape[2], call.written_mask()
        if mask is None:
            mask = call.query.new_ones((1, 1, 1, call.key.shape[2]), dtype=torch.bool)
        front = self.visible[self._owners(call.query), slot][:, None, None, :]
        if mask.dtype != torch.bool:
            hidden = torch.finfo(mask.dtype).min
            front = torch.zeros_like(front, dtype=mask.dtype).masked_fill(~front, hidden)
        own = mask.expand(rows, -1, queries, -1)
        return torch.cat((front.expand(rows, own.shape[1], queries, -1), own), dim=-1)

    def _owners(self, states: Tensor) -> Tensor:
        """Of each row of states, which may be the beams of each text, one after the other."""
        return self.owners.repeat_interleave(states.shape[0] // self.owners.shape[0])


def mix_prefixes(
    prefixes: Sequence[tuple[Tensor, Mapping[nn.Module, int]]], owners: Tensor
) -> MixedPrefix:
    """Prefixes of one backbone for a batch whose rows each have one of them.

    Args:
        prefixes: keys and values [slots, 2, kv_heads, length, head_dim], and the slot of each
            attention module; lengths and slots may differ.
        owners: [rows], the prefix of each row.
    """
    modules = dict.fromkeys(module for _, slots in prefixes for module in slots)
    union = {module: row for row, module in enumerate(modules)}
    longest = max(values.shape[3] for values, _ in prefixes)
    made, visible = [], []
    for values, slots in prefixes:
        filled = functional.pad(values, (0, 0, longest - values.shape[3], 0))
        whole = filled.new_zeros((len(union), *filled.shape[1:]))
        shown = owners.new_zeros((len(union), longest), dtype=torch.bool)
        for module, slot in slots.items():
            whole[union[module]] = filled[slot]
            shown[union[module], longest - values.shape[3] :] = True
        made.append(whole)
        visible.append(shown)
    return MixedPrefix(torch.stack(made), torch.stack(visible), owners, union)
