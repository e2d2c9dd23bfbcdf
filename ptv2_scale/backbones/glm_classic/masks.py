"""The three forms of classic GLM's attention mask, made into one that is added to the scores."""

from __future__ import annotations

import torch
from torch import Tensor

from ptv2_scale.runtime.errors import UserError

# Far beyond any score, so that a row that is wholly masked gives every key the same weight, as in
# the published code; -inf would make it nan, and a smaller value would let the scores through.
_HIDDEN = -1e30


def additive_mask(attention_mask: Tensor, states: Tensor, past: int) -> Tensor:
    """The mask that is added to the attention scores.

    Args:
        attention_mask: one of
            separator [batch], [batch, 1], [1] or a scalar: the first `separator` of the new tokens
            are seen by all, the others by themselves and later ones, so that 0 is causal;
            padding [batch, keys]: 1 for a token that all tokens see, 0 for one that none sees;
            full [batch or 1, heads or 1, tokens or 1, keys]: 1 where a token (row) sees a key.
            Keys are the cached tokens and the new ones; of more columns the last ones count.
        states: [batch, tokens, width], the new tokens.
        past: cached tokens in front of the new ones; a separator leaves all of them visible.

    Returns:
        [batch or 1, heads or 1, tokens or 1, keys], in the dtype of `states`.

    Raises:
        UserError: a mask of another shape.
    """
    visible = _visible(attention_mask, states, past)
    hidden = max(_HIDDEN, torch.finfo(states.dtype).min)
    mask = torch.zeros(visible.shape, dtype=states.dtype, device=states.device)
    return mask.masked_fill(~visible, hidden)


def piece_inputs(position_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
    """Positions and mask of texts behind which pieces are read, perhaps with a prompt in front.

    All tokens see the text; those of a piece (block position above 0) see what of it comes before.

    Args:
        position_ids: [batch, 2, n], positions and block positions of the text and its piece.
        attention_mask: [batch, columns], 1 for what is no padding; columns beyond n stand in front.

    Returns:
        `position_ids` [batch, 2, columns], and `attention_mask` [batch, 1, columns, columns].
    """
    front = attention_mask.shape[1] - position_ids.shape[2]
    prompt = torch.zeros_like(attention_mask[:, None, :front]).expand(-1, 2, -1).clone()
    prompt[:, 0] = torch.arange(front, device=prompt.device)
    moved = position_ids + torch.tensor([[front], [0]], device=position_ids.device)
    places = torch.cat((prompt, moved), dim=2)
    piece = places[:, 1] > 0
    columns = torch.arange(piece.shape[1], device=piece.device)
    behind = piece[:, :, None] & piece[:, None, :] & (columns <= columns[:, None])
    visible = attention_mask.bool()[:, None, :] & (~piece[:, None, :] | behind)
    return {"position_ids": places, "attention_mask": visible[:, None].long()}


def _visible(mask: Tensor, states: Tensor, past: int) -> Tensor:
    batch, tokens = states.shape[:2]
    keys = past + tokens
    mask = mask.to(states.device)
    # A padding mask of one token is read as a separator, to the same effect: a token that is
    # alone gets its own value back either way.
    if mask.dim() < 3 and (mask.numel() == 1 or mask.shape in ((batch,), (batch, 1))):
        return _behind_separator(mask.reshape(-1), tokens, past)
    if mask.dim() == 2 and _fits(mask.shape, batch, keys):
        return mask[:, None, None, -keys:] != 0
    if mask.dim() == 4 and _fits(mask.shape, batch, keys) and mask.shape[2] in (1, tokens):
        return mask[..., -keys:] != 0
    raise UserError(
        f"attention_mask: shape {list(mask.shape)} does not fit {batch} texts of {tokens} tokens"
        f" behind {past} cached ones. Allowed: a separator [{batch}], a padding mask"
        f" [{batch}, {keys}], a full mask [{batch}, 1, {tokens}, {keys}]."
    )


def _fits(shape: torch.Size, batch: int, keys: int) -> bool:
    return shape[0] in (1, batch) and shape[-1] >= keys


def _behind_separator(separator: Tensor, tokens: int, past: int) -> Tensor:
    """[len(separator), 1, tokens, past + tokens]."""
    key = torch.arange(-past, tokens, device=separator.device)
    query = torch.arange(tokens, device=separator.device)[:, None]
    return ((key <= query) | (key < separator.view(-1, 1, 1)))[:, None]
