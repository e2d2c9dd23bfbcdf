"""The way a prefix enters attention: one function registered with transformers.

A prefix is *bound* for one forward pass by a context manager and found again by the attention
function, so no model class is copied and nothing is stored on the backbone's modules: two forward
passes with different prefixes may precede one backward pass, and several prompted models may share
one backbone object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.gemma2.modeling_gemma2 import (
    eager_attention_forward as softcapped_attention_forward,
)

from ptv2_scale.backbones.binding import bound_value, checkpoint_contexts
from ptv2_scale.backbones.mixed_prefix import MixedPrefix

# With "sdpa" in the name, transformers would refuse Gemma 2 and DeBERTa, which its own sdpa cannot
# attend for; with "flash" in it, it would fetch a kernel.
IMPLEMENTATION = "ptv2_prefix"
_TRAINED_BIAS = "ptv2_trained_position_bias"  # of an attention module


@dataclass(frozen=True)
class BoundPrefix:
    """Keys and values for the prompted attention modules of one forward pass.

    Attributes:
        keys_values: [slots, 2, kv_heads, length, head_dim]; index 0 of the axis of two is the key.
        slots: attention module -> its row in `keys_values`.
        dropout: probability applied to keys and values, one mask an example; 0 when evaluating.
        key_lengths: attention module -> key lengths it saw; filled only where a dict is given.
        gates: [slots, heads]; the prefix is attended to on its own, and what that gives is added
            to attention over the text as many times. None: one attention over both.
    """

    keys_values: Tensor
    slots: Mapping[nn.Module, int]
    dropout: float = 0.0
    key_lengths: dict[nn.Module, list[int]] | None = None
    gates: Tensor | None = None

    def saw(self, module: nn.Module, keys: int) -> None:
        """Collect how many keys a module saw."""
        if self.key_lengths is not None:
            self.key_lengths.setdefault(module, []).append(keys)


@dataclass(frozen=True)
class Recorder:
    """Collects what each attention module computes as key and value: [batch, kv_heads, n, d]."""

    slots: Mapping[nn.Module, int]
    keys_values: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)


def enable_checkpointing(backbone: Any) -> None:
    """Turn on activation checkpointing in every layer of a transformers model, prefix kept.

    Frozen input embeddings are left without gradients: transformers would make them require some,
    and layers below the lowest prompted one would then run a backward pass for nothing.
    """
    enable = getattr(backbone, "activation_checkpointing_enable", None)
    kwargs = {"use_reentrant": False, "context_fn": checkpoint_contexts}
    (enable or backbone.gradient_checkpointing_enable)(kwargs)
    backbone.disable_input_require_grads()


def train_position_bias(backbone: nn.Module) -> None:
    """Let gradients through to T5's table of relative positions, where it is trained."""
    for module in backbone.modules():
        if hasattr(module, "has_relative_attention_bias"):
            setattr(module, _TRAINED_BIAS, True)


def _pad_left(mask: Tensor, columns: int, value: float | bool) -> Tensor:
    return functional.pad(mask, (columns, 0), value=value)


def _bottom_right_causal(queries: int, keys: int, device: torch.device) -> Tensor:
    """[1, 1, queries, keys], true where a query may look; the last query sees every key."""
    mask = torch.ones(queries, keys, dtype=torch.bool, device=device)
    return mask.tril(keys - queries)[None, None]


def _written_mask(
    mask: Tensor | None, is_causal: bool, query: Tensor, key: Tensor
) -> Tensor | None:
    """The mask, where there is none but the word "causal" too; None: every key is visible."""
    if mask is not None or not is_causal or query.shape[2] == 1:
        return mask
    return _bottom_right_causal(query.shape[2], key.shape[2], query.device)


def _of_batch(prefix: Tensor, states: Tensor, dropout: float) -> Tensor:
    """[kv_heads, length, d] for each example of states [batch, kv_heads, n, d]."""
    expanded = prefix.to(states.dtype).expand(states.shape[0], *prefix.shape)
    return functional.dropout(expanded, dropout) if dropout else expanded


def _with_prefix(prefix: Tensor, states: Tensor, dropout: float) -> Tensor:
    """Put [kv_heads, length, d] in front of [batch, kv_heads, n, d]."""
    return torch.cat((_of_batch(prefix, states, dropout), states), dim=2)


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Transformers' own attention: `sdpa`, or what it computes where logits are soft-capped."""
    if kwargs.get("softcap") is None:
        output, _ = sdpa_attention_forward(module, query, key, value, mask, **kwargs)
        return output, None
    mask = _written_mask(mask, kwargs.pop("is_causal"), query, key)
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.where(mask, 0.0, torch.finfo(query.dtype).min).to(query.dtype)
    output, _ = softcapped_attention_forward(module, query, key, value, mask, **kwargs)
    return output, None


def _gated(
    bound: BoundPrefix, slot: int, module: nn.Module, query: Tensor, key: Tensor, value: Tensor,
    **kwargs: Any,
) -> Tensor:  # fmt: skip
    """Attention over the prefix alone, times the gates; [batch, n, heads, d].

    The scores of a text and of a prefix each have a softmax of their own, so that a gate of zero
    leaves the text's attention as it is (Zhang et al., LLaMA-Adapter, ICLR 2024).
    """
    assert bound.gates is not None
    keys, values = bound.keys_values[slot]
    keys = _of_batch(keys, key, bound.dropout)
    values = _of_batch(values, value, bound.dropout)
    bound.saw(module, keys.shape[2] + key.shape[2])
    given = {name: one for name, one in kwargs.items() if name != "position_bias"}
    output, _ = _attend(module, query, keys, values, None, is_causal=False, **given)
    return output * bound.gates[slot].to(output.dtype)[:, None]


def prefix_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    position_bias: Tensor | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Stock attention, with the bound prefix in front of this module's keys and values.

    Every query sees the whole prefix, also where the mask is of a sliding window: a window counts
    the text's own tokens. Logits that are soft-capped (Gemma 2) are so for the prefix, too.

    Args:
        module: the attention module; it is prompted if the bound prefix has a slot for it.
        query: [batch, heads, n, d].
        key: [batch, kv_heads, m, d].
        value: [batch, kv_heads, m, d].
        attention_mask: [batch or 1, heads or 1, n, m], bool (true: visible) or additive; or None.
        position_bias: T5's relative bias [1 or batch, heads, n, m]; prefix columns get zero, so
            that real tokens keep their distances.
        is_causal: overrides the module's own `is_causal` where no mask is given.

    Returns:
        [batch, n, heads, d] and None (attention weights are never given).
    """
    bound = bound_value()
    slot = None
    if isinstance(bound, (BoundPrefix, MixedPrefix, Recorder)):
        slot = bound.slots.get(module)
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if position_bias is not None:
        if not getattr(module, _TRAINED_BIAS, False):
            # transformers' T5 gives it a gradient under checkpointing, frozen or not: that would be
            # wasted, and its order of summation would change the last bits of the prefix's
            # gradient.
            position_bias = position_bias.detach()
        kwargs["position_bias"] = position_bias
    if slot is not None and isinstance(bound, Recorder):
        bound.keys_values[slot] = (key, value)
    elif slot is not None and isinstance(bound, MixedPrefix):
        attention_mask = _written_mask(attention_mask, causal, query, key)
        attention_mask = bound.masked(slot, attention_mask, query, key)
        if position_bias is not None:
            kwargs["position_bias"] = _pad_left(position_bias, bound.visible.shape[2], 0.0)
        key = torch.cat((bound.rows_of(slot, 0, key), key), dim=2)
        value = torch.cat((bound.rows_of(slot, 1, value), value), dim=2)
        causal = False
    elif slot is not None and isinstance(bound, BoundPrefix):
        length = bound.keys_values.shape[3]
        if bound.gates is not None:
            own, _ = _attend(module, query, key, value, attention_mask, is_causal=causal, **kwargs)
            return own + _gated(bound, slot, module, query, key, value, **kwargs), None
        # No mask means "causal" to stock sdpa, which would cut the keys to the query length.
        attention_mask = _written_mask(attention_mask, causal, query, key)
        if attention_mask is not None:
            visible = True if attention_mask.dtype == torch.bool else 0.0
            attention_mask = _pad_left(attention_mask, length, visible)
        if position_bias is not None:
            kwargs["position_bias"] = _pad_left(position_bias, length, 0.0)
        key = _with_prefix(bound.keys_values[slot, 0], key, bound.dropout)
        value = _with_prefix(bound.keys_values[slot, 1], value, bound.dropout)
        causal = False
        bound.saw(module, key.shape[2])
    return _attend(module, query, key, value, attention_mask, is_causal=causal, **kwargs)


AttentionInterface.register(IMPLEMENTATION, prefix_attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
