"""The tokens of a classic GLM's tokenizer that filling blanks needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ptv2_scale.backbones.glm_classic.vocabularies import END, LONG, SENTENCE, START
from ptv2_scale.runtime.errors import UserError


@dataclass(frozen=True)
class PieceTokens:
    """Ids of the tokens that filling blanks needs.

    Attributes:
        start: <|startofpiece|>, which begins a piece.
        end: <|endofpiece|>, which ends it.
        masks: id of a mask -> the mask; [sMASK] and [gMASK] are not in every vocabulary.
        pad: what fills a batch.
    """

    start: int
    end: int
    masks: Mapping[int, str]
    pad: int

    @classmethod
    def of(cls, tokenizer: Any) -> PieceTokens:
        """The ids of a classic GLM's tokenizer.

        Raises:
            UserError: it has no such tokens, so it is another model's.
        """
        start, end, *larger = (_id(tokenizer, token) for token in (START, END, SENTENCE, LONG))
        mask = tokenizer.mask_token_id
        if start is None or end is None or mask is None:
            raise UserError(
                f"This tokenizer ({type(tokenizer).__name__}) has no {START}, {END} or mask token:"
                " it is not a classic GLM's."
            )
        masks = {int(mask): str(tokenizer.mask_token)}
        for token, place in zip((SENTENCE, LONG), larger, strict=True):
            if place is not None:
                masks[place] = token
        return cls(start, end, masks, int(tokenizer.pad_token_id or 0))


def _id(tokenizer: Any, token: str) -> int | None:
    found = tokenizer.convert_tokens_to_ids(token)
    # What a vocabulary lacks comes back as its unknown token.
    known = found is not None and tokenizer.convert_ids_to_tokens(found) == token
    return int(found) if known else None
