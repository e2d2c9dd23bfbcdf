"""DeBERTa's disentangled attention (He et al., ICLR 2021), made to take a prefix.

Transformers does not dispatch it, so its modules get a subclass whose forward attends through our
own function; projections and relative scores are transformers' own code. After the official
P-Tuning v2 code, a prefix has no relative position: its columns get the content score alone, on
the same scale as the text's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.models.deberta import modeling_deberta as v1
from transformers.models.deberta_v2 import modeling_deberta_v2 as v2

from ptv2_scale.backbones.attention import prefix_attention


def take_prefix(backbone: Any) -> None:
    """Let the attention of a `DebertaModel` or `DebertaV2Model` take a bound prefix."""
    for module in backbone.modules():
        module.__class__ = _PROMPTED.get(type(module), type(module))
        for parameter in module.parameters(recurse=False):
            # The first version asks for two of its biases in fp32 whatever the model's dtype.
            parameter.data = parameter.data.to(backbone.dtype)


class _Attention(v1.DisentangledSelfAttention):  # type: ignore[misc]
    """Of the first version."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor,
        output_attentions: bool = False,
        query_states: Tensor | None = None,
        relative_pos: Tensor | None = None,
        rel_embeddings: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Hidden states [batch, n, width]; the mask is [batch, 1, n, n], true where visible."""
        query, key, value = self.transpose_for_scores(self.in_proj(hidden_states)).chunk(3, dim=-1)
        query = query + self.transpose_for_scores(self.q_bias[None, None, :])
        value = value + self.transpose_for_scores(self.v_bias[None, None, :])
        parts = 1 + len(self.pos_att_type)
        query = query / v1.scaled_size_sqrt(query, parts).to(query.dtype)
        relative: Tensor | int = 0
        if self.relative_attention:
            rows = self.pos_dropout(rel_embeddings)
            relative = self.disentangled_att_bias(query, key, relative_pos, rows, parts)
        return _attend(self, query, key, value, attention_mask, relative, 1.0)


class _AttentionV2(v2.DisentangledSelfAttention):  # type: ignore[misc]
    """Of the second and third version."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor,
        output_attentions: bool = False,
        query_states: Tensor | None = None,
        relative_pos: Tensor | None = None,
        rel_embeddings: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Hidden states [batch, n, width]; the mask is [batch, 1, n, n], true where visible."""
        heads = self.num_attention_heads
        query, key, value = (
            self.transpose_for_scores(project(hidden_states), heads)
            for project in (self.query_proj, self.key_proj, self.value_proj)
        )
        parts = 1 + ("c2p" in self.pos_att_type) + ("p2c" in self.pos_att_type)
        relative: Tensor | int = 0
        if self.relative_attention:
            rows = self.pos_dropout(rel_embeddings)
            relative = self.disentangled_attention_bias(query, key, relative_pos, rows, parts)
        if isinstance(relative, Tensor):
            relative = relative.unflatten(0, (-1, heads))
        query, key, value = (one.unflatten(0, (-1, heads)) for one in (query, key, value))
        scaling = float(query.shape[-1] * parts) ** -0.5
        return _attend(self, query, key, value, attention_mask, relative, scaling)


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    visible: Tensor,
    relative: Tensor | int,
    scaling: float,
) -> tuple[Tensor, None]:
    """Scores of content and of relative positions [batch, heads, n, n] in one additive mask."""
    lowest = torch.finfo(query.dtype).min
    mask = torch.where(visible.bool(), relative, lowest).to(query.dtype)
    dropout = module.dropout.p if module.training else 0.0
    output, _ = prefix_attention(
        module, query, key, value, mask, is_causal=False, scaling=scaling, dropout=dropout
    )
    return output.reshape(*output.shape[:2], -1), None


_PROMPTED: dict[type, type] = {
    v1.DisentangledSelfAttention: _Attention,
    v2.DisentangledSelfAttention: _AttentionV2,
}
