"""First values of a prefix that come from somewhere: from a text, or from a saved prefix."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ptv2_scale.backbones.attention import Recorder
from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.backbones.tokenizers import spelled
from ptv2_scale.backbones.vocabulary import check_ids
from ptv2_scale.methods.base import RunModel
from ptv2_scale.methods.prefix.encoder import PrefixEncoder, PrefixEntry, flatten
from ptv2_scale.runtime.errors import UserError


def text_tokens(
    text: str, length: int, tokenizer: Any, family: Family, config: Config
) -> list[int]:
    """A text's tokens, repeated or cut to the prefix's length.

    Raises:
        UserError: it has none, one without a row in the embedding, or the backbone has no room for
            so many.
    """
    tokens: list[int] = tokenizer(text)["input_ids"]
    if not tokens:
        raise UserError(f"prompt.init_text: '{text}' has no tokens.")
    tables = family.tables(config)
    check_ids({"input_ids": tokens}, tables, "prompt.init_text", partial(spelled, tokenizer))
    room = family.position_room(config)
    if room is not None and length > room:
        raise UserError(
            f"prompt.init: text: a prefix of {length} tokens is longer than the"
            f" {family.name}'s position table, which has room for {room}."
        )
    return (tokens * -(-length // len(tokens)))[:length]


def record_text(
    run: RunModel,
    encoder: PrefixEncoder,
    tokens: list[int],
    encoder_decoder: bool,
    device: torch.device,
) -> Tensor:
    """Keys and values that the backbone itself computes for a text, as a flat prefix.

    Both stacks of an encoder-decoder read it.

    Args:
        run: calls the model, which is in `eval()` mode.
        encoder: for its slots.
        tokens: of the text.
        encoder_decoder: whether the backbone is one.
        device: where inputs go.
    """
    input_ids = torch.tensor([tokens], device=device)
    inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
    if encoder_decoder:
        inputs["decoder_input_ids"] = input_ids
    recorder = Recorder(encoder.slots)
    with torch.no_grad():
        run(entry=PrefixEntry(recorder), **inputs)
    slots = range(len(encoder.shape.slots))
    return flatten(torch.stack([torch.stack(recorder.keys_values[row])[:, 0] for row in slots]))
