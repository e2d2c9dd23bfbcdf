"""First values of a prefix that come from somewhere: from a text, or from a saved prefix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptv2_scale.backbones.attention import Recorder
from ptv2_scale.config import Prefix
from ptv2_scale.engine.state import set_values
from ptv2_scale.methods.prefix.encoder import flatten
from ptv2_scale.methods.prefix.files import read_flat_prefix
from ptv2_scale.model.setup import Setup
from ptv2_scale.runtime.errors import UserError

_TABLE = "prefix_encoder.embedding.weight"


def warm_start(engine: Any, setup: Setup, prompt: Prefix) -> None:
    """Write a prefix's first values over the zeros it was built with; nothing for other inits.

    Raises:
        UserError: the saved prefix is not there or of other sizes; the text is empty.
    """
    if setup.shape is None or prompt.init not in ("text", "saved"):
        return
    if prompt.init == "saved":
        flat = read_flat_prefix(Path(str(prompt.init_from)), setup.shape)
    else:
        flat = _record_text(engine, setup, str(prompt.init_text))
    set_values(engine, {_TABLE: flat.float().cpu()})


def check_warm_start(setup: Setup) -> None:
    """Refuse early what `warm_start` could not use; reads no weights.

    Raises:
        UserError: see `warm_start`.
    """
    prompt = setup.config.prompt
    if setup.shape is None or not isinstance(prompt, Prefix):
        return
    if prompt.init == "saved":
        read_flat_prefix(Path(str(prompt.init_from)), setup.shape)
    elif prompt.init == "text":
        _text_tokens(setup, str(prompt.init_text))


def _text_tokens(setup: Setup, text: str) -> list[int]:
    """A text's tokens, repeated or cut to the prefix's length."""
    assert setup.shape is not None
    tokens: list[int] = setup.tokenizer(text)["input_ids"]
    if not tokens:
        raise UserError(f"prompt.init_text: '{text}' has no tokens.")
    length = setup.shape.length
    room = setup.files.family.position_room(setup.files.config)
    if room is not None and length > room:
        raise UserError(
            f"prompt.init: text: a prefix of {length} tokens is longer than the"
            f" {setup.files.family.name}'s position table, which has room for {room}."
        )
    return (tokens * -(-length // len(tokens)))[:length]


def _record_text(engine: Any, setup: Setup, text: str) -> Tensor:
    """Keys and values that the backbone itself computes for a text, as a flat prefix.

    Both stacks of an encoder-decoder read it.
    """
    assert setup.shape is not None
    input_ids = torch.tensor([_text_tokens(setup, text)], device=engine.device)
    inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
    if setup.files.family.encoder_decoder:
        inputs["decoder_input_ids"] = input_ids
    recorder = Recorder(engine.module.slots)
    engine.module.eval()
    with torch.no_grad():
        engine(prefix=recorder, **inputs)
    rows = [torch.stack(recorder.keys_values[row])[:, 0] for row in range(len(setup.shape.slots))]
    return flatten(torch.stack(rows))
