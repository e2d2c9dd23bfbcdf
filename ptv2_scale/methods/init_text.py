"""The tokens of `prompt.init_text`, from which first values are made."""

from __future__ import annotations

from functools import partial
from typing import Any

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.backbones.tokenizers import spelled
from ptv2_scale.backbones.vocabulary import check_ids
from ptv2_scale.runtime.errors import UserError


def init_tokens(
    text: str, length: int, tokenizer: Any, family: Family, config: Config
) -> list[int]:
    """A text's tokens, repeated or cut to a length.

    Raises:
        UserError: it has none, or one without a row in the embedding.
    """
    tokens: list[int] = tokenizer(text)["input_ids"]
    if not tokens:
        raise UserError(f"prompt.init_text: '{text}' has no tokens.")
    tables = family.tables(config)
    check_ids({"input_ids": tokens}, tables, "prompt.init_text", partial(spelled, tokenizer))
    return (tokens * -(-length // len(tokens)))[:length]
