"""Attention over a text and over a prefix that all texts of a batch share, each on its own.

Attention over both sets of keys is the average of attention over each, weighed by how much of the
sum in softmax's denominator each has (the online softmax of Milakov and Gimelshein, 2018). So the
prefix is copied for no example: to it, the queries of all examples are those of one long text.
FlexAttention (Dong et al., 2024) gives the sums with their gradients, and reads masks, T5's bias
and soft caps score by score, so that no matrix of scores is written for them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import flex_attention as flex
from torch.overrides import handle_torch_function, has_torch_function

# How to ask for log-sum-exps: since PyTorch 2.9, and before.
_SUMS: dict[str, Any] = (
    {"return_aux": flex.AuxRequest(lse=True)}
    if hasattr(flex, "AuxRequest")
    else {"return_lse": True}
)
# (score, example, head, query, key) -> score
ScoreMod = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def has_gradients(device: torch.device) -> bool:
    """Whether FlexAttention has a backward pass there: on every device but CPUs."""
    return device.type != "cpu"


def shared_prefix_attention(
    query: Tensor,
    text: tuple[Tensor, Tensor],
    prefix: tuple[Tensor, Tensor],
    scaling: float | None,
    of_text: ScoreMod,
    of_prefix: ScoreMod | None,
) -> Tensor:
    """Attention over keys of a text and of a prefix, [batch, n, heads, d].

    Args:
        query: [batch, heads, n, d].
        text: keys and values [batch, kv_heads, m, d].
        prefix: keys and values [batch or 1, kv_heads, length, d]; 1: shared.
        scaling: of the scores; None: one over the square root of d.
        of_text: what becomes of a score of the text; -inf where a key is hidden.
        of_prefix: the same of the prefix, by the score alone; None: nothing.
    """
    mixed, sums = attention_with_sums(query, *text, scaling, of_text)
    front, front_sums = _over_prefix(query, *prefix, scaling, of_prefix)
    total = torch.logaddexp(sums, front_sums)
    weight, front_weight = ((one - total).exp()[..., None] for one in (sums, front_sums))
    # Weights are in fp32, so that what is merged is rounded once.
    merged = (mixed * weight + front * front_weight).to(query.dtype)
    return merged.transpose(1, 2).contiguous()


def attention_with_sums(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, changed: ScoreMod | None
) -> tuple[Tensor, Tensor]:
    """FlexAttention: what is attended to [batch, heads, n, d], and log-sum-exps [batch, heads, n].

    Args:
        query: [batch, heads, n, d].
        key: [batch, kv_heads, m, d].
        value: [batch, kv_heads, m, d].
        scaling: of the scores.
        changed: what becomes of a score.
    """
    if has_torch_function((query, key, value)):
        return handle_torch_function(
            attention_with_sums, (query, key, value), query, key, value, scaling, changed
        )
    out, found = _kernel(query.device.type)(
        query, key, value, score_mod=changed, scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1], **_SUMS,
    )  # fmt: skip
    return out, found if isinstance(found, Tensor) else found.lse


@cache
def _kernel(device: str) -> Any:
    # Dynamic: each batch is as long as its longest text.
    whole = flex.flex_attention
    return whole if device == "cpu" else torch.compile(whole, dynamic=True)


def _over_prefix(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, changed: ScoreMod | None
) -> tuple[Tensor, Tensor]:
    """As `attention_with_sums`, of keys that may be those of all examples."""
    batch, heads, queries, width = query.shape
    if key.shape[0] == batch:
        return attention_with_sums(query, key, value, scaling, changed)
    one_text = query.transpose(0, 1).reshape(1, heads, batch * queries, width)
    out, sums = attention_with_sums(one_text, key, value, scaling, changed)
    return (
        out.view(heads, batch, queries, width).transpose(0, 1),
        sums.view(heads, batch, queries).transpose(0, 1),
    )
