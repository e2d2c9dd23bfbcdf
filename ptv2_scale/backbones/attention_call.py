"""What one attention module asks for, and its answer by PyTorch's and transformers' attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.models.gemma2.modeling_gemma2 import (
    eager_attention_forward as softcapped_attention_forward,
)

from ptv2_scale.backbones.attention_routes import Route
from ptv2_scale.backbones.bottom_right import bottom_right_attention, bottom_right_mask
from ptv2_scale.backbones.shared_prefix import ScoreMod, has_gradients, shared_prefix_attention


@dataclass(frozen=True)
class AttentionCall:
    """What one attention module asks for.

    Attributes:
        module: the attention module.
        query: [batch, heads, n, d].
        key: [batch, kv_heads, m, d].
        value: [batch, kv_heads, m, d].
        mask: [batch or 1, heads or 1, n, m], bool (true: visible) or additive; None: see `causal`.
        causal: where there is no mask, whether a query sees no key behind it.
        position_bias: T5's relative bias [1 or batch, heads, n, m], or None.
        options: what else the module gives.
        route: how keys in front are attended to.
        bottom_right: answered without a mask, by a kernel in which the last query sees every key.
    """

    module: nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    causal: bool
    position_bias: Tensor | None
    options: Mapping[str, Any]
    route: Route = "sdpa"
    bottom_right: bool = False

    def run(self) -> Tensor:
        """Attention over the keys, [batch, n, heads, d]."""
        if self.bottom_right:
            scaling, dropout = self.options.get("scaling"), self.options.get("dropout", 0.0)
            return bottom_right_attention(self.query, self.key, self.value, scaling, dropout)
        if self.options.get("softcap") is not None:
            return self._softcapped()
        bias = {} if self.position_bias is None else {"position_bias": self.position_bias}
        output: Tensor
        output, _ = sdpa_attention_forward(
            self.module, self.query, self.key, self.value, self.mask,
            is_causal=self.causal, **bias, **self.options,
        )  # fmt: skip
        return output

    def _softcapped(self) -> Tensor:
        """What transformers' eager attention computes; its sdpa takes no soft cap."""
        mask = self.written_mask()
        if mask is not None and mask.dtype == torch.bool:
            lowest = torch.finfo(self.query.dtype).min
            mask = torch.where(mask, 0.0, lowest).to(self.query.dtype)
        output: Tensor
        output, _ = softcapped_attention_forward(
            self.module, self.query, self.key, self.value, mask, **self.options
        )
        return output

    def written_mask(self) -> Tensor | None:
        """The mask, where there is none but the word "causal" too; None: every key is visible."""
        if self.mask is not None or not self.causal or self.query.shape[2] == 1:
            return self.mask
        return bottom_right_mask(self.query.shape[2], self.key.shape[2], self.query.device)

    def behind(self, keys: Tensor, values: Tensor) -> AttentionCall:
        """The same with keys and values in front that every query sees, at no distance.

        Args:
            keys: [batch, kv_heads, length, d].
            values: [batch, kv_heads, length, d].
        """
        if self._needs_no_mask:
            return replace(
                self,
                key=torch.cat((keys, self.key), dim=2),
                value=torch.cat((values, self.value), dim=2),
                bottom_right=True,
            )
        mask = self.written_mask()
        if mask is not None:
            visible = True if mask.dtype == torch.bool else 0.0
            mask = _pad_left(mask, keys.shape[2], visible)
        return self.behind_some(keys, values, mask)

    def behind_some(self, keys: Tensor, values: Tensor, mask: Tensor | None) -> AttentionCall:
        """The same with keys and values in front that a mask may hide; see `behind`.

        Args:
            keys: [batch, kv_heads, length, d].
            values: [batch, kv_heads, length, d].
            mask: for all keys; None: every key is visible. Then stock sdpa must not hear "causal",
                for it would cut the keys to the query length.
        """
        bias = self.position_bias
        return replace(
            self,
            key=torch.cat((keys, self.key), dim=2),
            value=torch.cat((values, self.value), dim=2),
            mask=mask,
            causal=False,
            position_bias=None if bias is None else _pad_left(bias, keys.shape[2], 0.0),
        )

    @property
    def goes_beside(self) -> bool:
        """Whether keys in front are attended to on their own; see `run_beside`."""
        read = (self.mask, self.position_bias)
        return (
            self.route == "flex"
            and has_gradients(self.query.device)
            and self.query.shape[2] > 1
            and not self.options.get("dropout")  # FlexAttention has none
            and not any(one is not None and one.requires_grad for one in read)
        )

    def run_beside(self, keys: Tensor, values: Tensor) -> Tensor:
        """Attention over the keys and over others that every query sees, [batch, n, heads, d].

        Args:
            keys: [batch or 1, kv_heads, length, d]; 1: all examples share them.
            values: of the same shape.
        """
        cap = self.options.get("softcap")
        text, front = (self.key, self.value), (keys, values)
        scaling, of_front = self.options.get("scaling"), None if cap is None else _capped(cap)
        return shared_prefix_attention(
            self.query, text, front, scaling, self._score_mod(), of_front
        )

    def _score_mod(self) -> ScoreMod:
        """What cap, bias and mask make of a score; hidden ones are -inf."""
        shape = (*self.query.shape[:3], self.key.shape[2])
        mask = None if self.mask is None else self.mask.expand(shape)
        bias = None if self.position_bias is None else self.position_bias.expand(shape)
        cap, causal, past = self.options.get("softcap"), self.causal, shape[3] - shape[2]
        hides = mask is not None and mask.dtype == torch.bool

        def changed(
            score: Tensor, example: Tensor, head: Tensor, row: Tensor, column: Tensor
        ) -> Tensor:
            if cap is not None:
                score = cap * torch.tanh(score / cap)
            if bias is not None:
                score = score + bias[example, head, row, column]
            if mask is None:
                return torch.where(column <= row + past, score, -torch.inf) if causal else score
            read = mask[example, head, row, column]
            return torch.where(read, score, -torch.inf) if hides else score + read

        return changed

    @property
    def _needs_no_mask(self) -> bool:
        """Whether a causal kernel alone says what is visible, keys in front included."""
        return (
            self.route == "causal"
            and self.causal
            and self.mask is None
            and self.position_bias is None
            and self.options.get("softcap") is None
            and self.query.shape[2] > 1
        )


def _pad_left(mask: Tensor, columns: int, value: float | bool) -> Tensor:
    return functional.pad(mask, (columns, 0), value=value)


def _capped(cap: float) -> ScoreMod:
    def capped(score: Tensor, example: Tensor, head: Tensor, row: Tensor, column: Tensor) -> Tensor:
        return cap * torch.tanh(score / cap)

    return capped
