"""First values of a prefix that come from somewhere: from a text, or from a saved prefix."""

from __future__ import annotations

import torch
from torch import Tensor

from ptv2_scale.backbones.attention import Recorder
from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.methods.base import RunModel
from ptv2_scale.methods.prefix.encoder import PrefixEncoder, PrefixEntry, flatten
from ptv2_scale.runtime.errors import UserError


def check_recordable(length: int, family: Family, config: Config) -> None:
    """Refuse a text that the backbone has no room to read.

    Raises:
        UserError: names the length and the room there is.
    """
    room = family.position_room(config)
    if room is not None and length > room:
        raise UserError(
            f"prompt.init: text: a prefix of {length} tokens is longer than the"
            f" {family.name}'s position table, which has room for {room}."
        )


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
