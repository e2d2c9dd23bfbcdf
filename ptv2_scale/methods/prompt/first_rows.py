"""First values of a prompt that are rows of the backbone's own input embedding."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from ptv2_scale.backbones.tokenizers import all_tokens
from ptv2_scale.methods.base import Entry, Inputs, RunModel, Wrapped, embed
from ptv2_scale.runtime.errors import UserError


def sampled_ids(length: int, allowed: Collection[int], seed: int) -> list[int]:
    """Ids drawn at random, none twice before all were drawn.

    Args:
        length: how many.
        allowed: of which.
        seed: of the draw.
    """
    ids = sorted(allowed)
    generator = torch.Generator().manual_seed(seed)
    drawn: list[int] = []
    while len(drawn) < length:
        drawn += [ids[place] for place in torch.randperm(len(ids), generator=generator).tolist()]
    return drawn[:length]


def vocabulary(tokenizer: Any, rows: int, first: int | None) -> list[int]:
    """Ids of ordinary tokens, ascending.

    Args:
        tokenizer: the backbone's.
        rows: of the backbone's embedding.
        first: how many of them; None: all.

    Raises:
        UserError: the tokenizer has no ordinary token.
    """
    special = set(getattr(tokenizer, "all_special_ids", ()))
    known = set(all_tokens(tokenizer).values()) - special
    ids = sorted(number for number in known if 0 <= number < rows)
    if not ids:
        raise UserError(
            "prompt.init: vocabulary: the tokenizer names no ordinary token. Set prompt.init: text,"
            " or random."
        )
    return ids[:first]


class _Lookup(Entry):
    """Looks up input embeddings, and leaves the forward pass as it is."""

    headless = True
    rows: Tensor | None = None

    def wrap(self, inputs: Inputs, backbone: nn.Module) -> Wrapped:
        self.rows = embed(backbone, inputs["input_ids"])[0]
        return super().wrap(inputs, backbone)


def embedding_rows(run: RunModel, ids: list[int], device: torch.device) -> Tensor:
    """Rows [len(ids), width] of the backbone's input embedding, fp32, on the CPU.

    By a forward pass of the whole model, for that is how every rank of a sharded one gets them.
    """
    input_ids = torch.tensor([ids], device=device)
    lookup = _Lookup()
    with torch.no_grad():
        run(entry=lookup, input_ids=input_ids, attention_mask=torch.ones_like(input_ids))
    assert lookup.rows is not None
    return lookup.rows.float().cpu()
