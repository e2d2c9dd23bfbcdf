"""The way a prefix enters attention: one function registered with transformers.

A prefix is *bound* for one forward pass by a context manager and found again by the attention
function, so no model class is copied and nothing is stored on the backbone's modules: two forward
passes with different prefixes may precede one backward pass, and several prompted models may share
one backbone object.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask
from transformers.modeling_layers import GradientCheckpointingLayer

from ptv2_scale.backbones.attention_call import AttentionCall
from ptv2_scale.backbones.attention_routes import IMPLEMENTATIONS, Route
from ptv2_scale.backbones.binding import bound_value, checkpoint_contexts
from ptv2_scale.backbones.bottom_right import right_padded_mask

_TRAINED_BIAS = "ptv2_trained_position_bias"  # of an attention module


class Bound(ABC):
    """What a method binds for one forward pass to take part in attention.

    Attributes:
        slots: attention module -> its place in what is bound.
    """

    slots: Mapping[nn.Module, int]

    @abstractmethod
    def attend(self, slot: int, call: AttentionCall) -> Tensor:
        """Answer the call of the module in a slot: [batch, n, heads, d]."""


@dataclass(frozen=True)
class BoundPrefix(Bound):
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

    def attend(self, slot: int, call: AttentionCall) -> Tensor:
        """See `Bound`."""
        if self.gates is not None:
            text = call.run()
            return text + self._alone(slot, call) * self.gates[slot].to(text.dtype)[:, None]
        if call.goes_beside:
            keys, values = self._of_batch(slot, call.key if self.dropout else call.key[:1])
            self._note(call.module, keys.shape[2] + call.key.shape[2])
            return call.run_beside(keys, values)
        both = call.behind(*self._of_batch(slot, call.key))
        self._note(call.module, both.key.shape[2])
        return both.run()

    def _alone(self, slot: int, call: AttentionCall) -> Tensor:
        """Attention over the prefix alone.

        The scores of a text and of a prefix each have a softmax of their own, so that a gate of
        zero leaves the text's attention as it is (Zhang et al., LLaMA-Adapter, ICLR 2024).
        """
        keys, values = self._of_batch(slot, call.key)
        self._note(call.module, keys.shape[2] + call.key.shape[2])
        return replace(
            call, key=keys, value=values, mask=None, causal=False, position_bias=None
        ).run()

    def _of_batch(self, slot: int, states: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a slot for each example of states, [batch, kv_heads, length, d]."""
        keys, values = self.keys_values[slot]
        return _expanded(keys, states, self.dropout), _expanded(values, states, self.dropout)

    def _note(self, module: nn.Module, keys: int) -> None:
        if self.key_lengths is not None:
            self.key_lengths.setdefault(module, []).append(keys)


@dataclass(frozen=True)
class Recorder(Bound):
    """Collects what each attention module computes as key and value: [batch, kv_heads, n, d]."""

    slots: Mapping[nn.Module, int]
    keys_values: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def attend(self, slot: int, call: AttentionCall) -> Tensor:
        """See `Bound`; attention itself is as it would be."""
        self.keys_values[slot] = (call.key, call.value)
        return call.run()


def checkpointable_layers(backbone: nn.Module) -> list[GradientCheckpointingLayer]:
    """Layers of a transformers model that can be checkpointed, in the order in which they run."""
    return [one for one in backbone.modules() if isinstance(one, GradientCheckpointingLayer)]


def enable_checkpointing(backbone: Any, chosen: Collection[int] | None = None) -> None:
    """Turn on activation checkpointing in layers of a transformers model, prefix kept.

    Frozen input embeddings are left without gradients: transformers would make them require some,
    and layers below the lowest prompted one would then run a backward pass for nothing.

    Args:
        backbone: the model.
        chosen: places of the layers among `checkpointable_layers`; None: all.
    """
    enable = getattr(backbone, "activation_checkpointing_enable", None)
    kwargs = {"use_reentrant": False, "context_fn": checkpoint_contexts}
    (enable or backbone.gradient_checkpointing_enable)(kwargs)
    backbone.disable_input_require_grads()
    for place, layer in enumerate(checkpointable_layers(backbone)):
        layer.gradient_checkpointing = chosen is None or place in chosen


def train_position_bias(backbone: nn.Module) -> None:
    """Let gradients through to T5's table of relative positions, where it is trained."""
    for module in backbone.modules():
        if hasattr(module, "has_relative_attention_bias"):
            setattr(module, _TRAINED_BIAS, True)


def _expanded(prefix: Tensor, states: Tensor, dropout: float) -> Tensor:
    """[kv_heads, length, d] for each example of states [batch, kv_heads, n, d]."""
    expanded = prefix.to(states.dtype).expand(states.shape[0], *prefix.shape)
    return functional.dropout(expanded, dropout) if dropout else expanded


def prefix_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    position_bias: Tensor | None = None,
    is_causal: bool | None = None,
    route: Route = "sdpa",
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Stock attention, with the bound prefix in front of this module's keys and values.

    Every query sees the whole prefix, also where the mask is of a sliding window: a window counts
    the text's own tokens. Logits that are soft-capped (Gemma 2) are so for the prefix, too.

    Args:
        module: the attention module; it is prompted if what is bound has a slot for it.
        query: [batch, heads, n, d].
        key: [batch, kv_heads, m, d].
        value: [batch, kv_heads, m, d].
        attention_mask: [batch or 1, heads or 1, n, m], bool (true: visible) or additive; or None.
        position_bias: T5's relative bias [1 or batch, heads, n, m]; prefix columns get zero, so
            that real tokens keep their distances.
        is_causal: overrides the module's own `is_causal` where no mask is given.
        route: how the prefix is attended to; see `attention_routes`.
        **kwargs: what else the module gives: `scaling`, `dropout`, `softcap`.

    Returns:
        [batch, n, heads, d] and None (attention weights are never given).
    """
    if position_bias is not None and not getattr(module, _TRAINED_BIAS, False):
        # transformers' T5 gives it a gradient under checkpointing, frozen or not: that would be
        # wasted, and its order of summation would change the last bits of the prefix's gradient.
        position_bias = position_bias.detach()
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    call = AttentionCall(
        module, query, key, value, attention_mask, causal, position_bias, kwargs, route
    )
    bound = bound_value()
    if isinstance(bound, Bound) and (slot := bound.slots.get(module)) is not None:
        return bound.attend(slot, call), None
    return call.run(), None


_MASKS: Mapping[Route, Callable[..., Tensor | None]] = {
    "sdpa": sdpa_mask,
    "causal": right_padded_mask,
    "flex": right_padded_mask,
}
for _route, _mask in _MASKS.items():
    AttentionInterface.register(IMPLEMENTATIONS[_route], partial(prefix_attention, route=_route))
    AttentionMaskInterface.register(IMPLEMENTATIONS[_route], _mask)
