"""A piece that transformers' decoding writes: its inputs, and a forward pass as decoding calls it.

Decoding counts one row of position ids on by one a token, which is what block positions do. All
tokens of a piece are at the position of its mask, that of its <|startofpiece|>.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ptv2_scale.backbones.glm_classic.masks import piece_inputs


def piece_columns(inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """Inputs of texts with their <|startofpiece|>, each [batch, columns, ...], to be moved alike.

    Args:
        inputs: with `position_ids` and `attention_mask` from `piece_inputs`.

    Returns:
        `places` and `blocks` (positions and block positions), the padding mask `attention_mask`,
        and `input_ids` or `inputs_embeds`.
    """
    tokens = "input_ids" if "input_ids" in inputs else "inputs_embeds"
    positions, visible = inputs["position_ids"], inputs["attention_mask"]
    return {
        tokens: inputs[tokens],
        "places": positions[:, 0],
        "blocks": positions[:, 1],
        # Every token sees itself, but for padding.
        "attention_mask": visible[:, 0].diagonal(dim1=1, dim2=2),
    }


def read_pieces(
    backbone: Any,
    *,
    places: Tensor,
    position_ids: Tensor,
    attention_mask: Tensor | None = None,
    return_dict: bool = True,
    **given: Any,
) -> Any:
    """Run a classic GLM on texts with their <|startofpiece|>, or on one more token of each.

    Args:
        backbone: the model.
        places: positions [batch, columns] of the texts; the last one is the piece's.
        position_ids: block positions [batch, new tokens].
        attention_mask: padding mask [batch, cached and new tokens]; None: there is no padding.
        return_dict: decoding asks for it, and the model gives nothing else.
        **given: what else the model takes.
    """
    new = position_ids.shape[1]
    positions = torch.stack((places[:, -new:], position_ids), dim=1)
    if new == 1:  # it sees all before it
        seen: Mapping[str, Tensor | None] = {
            "position_ids": positions,
            "attention_mask": attention_mask,
        }
    else:
        padding = torch.ones_like(position_ids) if attention_mask is None else attention_mask
        seen = piece_inputs(positions, padding)
    return backbone(**given, **seen, output_predict=False)
