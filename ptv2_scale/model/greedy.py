"""Greedy decoding with a cache of keys and values.

A prefix is bound for every forward pass: attention puts it in front of the cached keys and values,
so it is never cached itself. A prompt of embeddings is read once, with the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.modeling_outputs import BaseModelOutput

from ptv2_scale.tasks.heads import last_token
from ptv2_scale.tasks.language_head import LanguageHead


@torch.no_grad()
def greedy(
    model: Any, head: LanguageHead, inputs: Mapping[str, Tensor], end: int, max_new_tokens: int
) -> list[list[int]]:
    """The likeliest tokens behind each text of a batch; see `PromptedModel.generate`.

    Args:
        model: the `PromptedModel`, in `eval()` mode.
        head: its head.
        inputs: of the batch, without labels.
        end: the token that ends an answer.
        max_new_tokens: of an answer.
    """
    mask = inputs.get("attention_mask")
    windowed = getattr(model.backbone.config, "sliding_window", None) is not None
    if windowed and mask is not None and not bool(mask.all()):
        # A window counts columns, so padding within it would hide tokens.
        texts = _alone(inputs)
        return [greedy(model, head, text, end, max_new_tokens)[0] for text in texts]
    entry = model.entry()
    with entry.bind():
        reader = _decoder if model.family.encoder_decoder else _continuation
        steps = reader(model, entry, inputs)
        states = next(steps)
        found: list[list[int]] = [[] for _ in range(len(states))]
        open_rows = torch.ones(len(states), dtype=torch.bool, device=states.device)
        for number in range(max_new_tokens):
            token = head.logits(states).argmax(dim=-1)
            open_rows = open_rows & (token != end)
            for row in open_rows.nonzero()[:, 0].tolist():
                found[row].append(int(token[row]))
            if not bool(open_rows.any()) or number == max_new_tokens - 1:
                break
            states = steps.send(token)
    return found


def _continuation(model: Any, entry: Any, inputs: Mapping[str, Tensor]) -> Any:
    """States [batch, width] of a causal model's last tokens; is sent the tokens behind them."""
    made, _ = model.backbone_inputs(entry, inputs)
    mask, cache = made["attention_mask"], DynamicCache()
    hidden = model.backbone(**made, past_key_values=cache, use_cache=True).last_hidden_state
    states = last_token(hidden, mask)
    while True:
        token = yield states
        mask = torch.cat((mask, torch.ones_like(mask[:, :1])), dim=1)
        positions = model.family.position_ids(mask, entry.shift, model.backbone.config)
        states = model.backbone(
            input_ids=token[:, None],
            attention_mask=mask,
            position_ids=positions[:, -1:],
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state[:, -1]


def _alone(inputs: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Each text of a batch as one of its own, without padding."""
    masks = inputs["attention_mask"].bool()
    return [
        {name: tensor[row, mask][None] for name, tensor in inputs.items()}
        for row, mask in enumerate(masks)
    ]


def _decoder(model: Any, entry: Any, inputs: Mapping[str, Tensor]) -> Any:
    """The same of a decoder, from its start on; the encoder reads the texts once."""
    made, _ = model.backbone_inputs(entry, inputs)
    outputs = model.backbone(**made, use_cache=True)
    encoded = BaseModelOutput(last_hidden_state=outputs.encoder_last_hidden_state)
    while True:
        token = yield outputs.last_hidden_state[:, -1]
        outputs = model.backbone(
            encoder_outputs=encoded,
            attention_mask=made["attention_mask"],
            decoder_input_ids=token[:, None],
            past_key_values=outputs.past_key_values,
            use_cache=True,
        )
