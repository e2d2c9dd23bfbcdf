"""Causal attention aligned at the bottom right: the last query sees every key, without a mask.

Behind a prefix there are more keys than queries. PyTorch's own `is_causal` is aligned at the top
left; its `CausalBias` stands for the other triangle, and is read by flash and memory-efficient
attention on GPUs as a flag. Elsewhere PyTorch writes it out.

Keys that only padding has stand behind every token of their text where texts are padded on the
right, so that causal attention hides them as it is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_flash_attention
from torch.nn import functional
from torch.nn.attention.bias import CausalBias, CausalVariant
from transformers.integrations.sdpa_attention import repeat_kv
from transformers.masking_utils import sdpa_mask

from ptv2_scale.backbones.binding import is_right_padded


def bottom_right_mask(queries: int, keys: int, device: torch.device) -> Tensor:
    """[1, 1, queries, keys], true where a query may look; the last query sees every key."""
    mask = torch.ones(queries, keys, dtype=torch.bool, device=device)
    return mask.tril(keys - queries)[None, None]


def bottom_right_attention(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, dropout: float
) -> Tensor:
    """Causal attention, [batch, n, heads, d], of the last n of m tokens.

    Args:
        query: [batch, heads, n, d].
        key: [batch, kv_heads, m, d], m at least n.
        value: [batch, kv_heads, m, d].
        scaling: of the scores; None: one over the square root of d.
        dropout: probability on the weights.
    """
    groups = query.shape[1] // key.shape[1]
    grouped = groups > 1 and _reads_groups(query, key, value, dropout)
    if groups > 1 and not grouped:
        key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    mixed = functional.scaled_dot_product_attention(
        query, key, value,
        attn_mask=_causal_bias(query.shape[2], key.shape[2]),
        dropout_p=dropout,
        scale=scaling,
        enable_gqa=grouped,
    )  # fmt: skip
    return mixed.transpose(1, 2).contiguous()


def right_padded_mask(*args: Any, attention_mask: Tensor | None = None, **options: Any) -> Any:
    """Transformers' mask for sdpa, without what right padding would add to a causal one.

    Args:
        *args: see `transformers.masking_utils.sdpa_mask`.
        attention_mask: padding mask [batch, m], or None.
        **options: see there; `allow_is_causal_skip` is given for plain causal masks, with windows
            or without, and for no other.

    Returns:
        [batch, 1, n, m], true where visible; None: causal, or everything is visible. Padding is
        hidden from what is no padding, in either case.
    """
    if is_right_padded() and options.get("allow_is_causal_skip", False):
        attention_mask = None
    return sdpa_mask(*args, attention_mask=attention_mask, **options)


def _causal_bias(queries: int, keys: int) -> CausalBias:
    """`causal_lower_right`, which makes 8 * queries * keys bytes that nobody reads with it."""
    bias = torch.empty(0).as_subclass(CausalBias)
    CausalBias.__init__(bias, CausalVariant.LOWER_RIGHT, queries, keys)
    return bias


def _reads_groups(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> bool:
    """Whether a kernel without a mask takes fewer heads of keys as they are: flash attention."""
    if query.is_cuda:
        return can_use_flash_attention(SDPAParams(query, key, value, None, dropout, False, True))
    # As on a GPU, so that a pass on the meta device keeps what a GPU does.
    return query.dtype in (torch.float16, torch.bfloat16)
