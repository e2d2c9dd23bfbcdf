"""A prompt in a forward pass, against transformers' own models fed embeddings by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from plain import (
    check_gradients,
    decoder_start,
    head_logits,
    leaves,
    loss_of,
    ours,
    plain_backbone,
    positions_of,
)
from tiny import MODEL_TYPES, batch_of, save_backbone
from torch import Tensor
from transformers import AutoModelForSequenceClassification

LENGTH = 5
PROMPT = {"method": "prompt", "length": LENGTH}


def by_hand(kind: str, folder: Path, padding: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
    backbone, trained = plain_backbone(folder).requires_grad_(False), leaves(values)
    batch = batch_of(padding)
    text, mask = backbone.get_input_embeddings()(batch["input_ids"]), batch["attention_mask"]
    prompt = trained["prompt_encoder.embedding.weight"]
    longer = torch.cat((torch.ones(3, LENGTH, dtype=torch.long), mask), dim=1)
    hidden = backbone(
        inputs_embeds=torch.cat((prompt.expand(3, -1, -1), text), dim=1),
        attention_mask=longer,
        **positions_of(kind, longer),
        **decoder_start(kind, 3),
    ).last_hidden_state
    own = hidden if kind in ("t5", "mt5") else hidden[:, LENGTH:]
    loss_of(head_logits(kind, own, mask, trained)).backward()
    return {name: value.grad for name, value in trained.items()}


@pytest.mark.parametrize("padding", ["right", "left"])
@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_gradients_are_those_of_embeddings_fed_by_hand(
    kind: str, padding: str, tmp_path: Path
) -> None:
    save_backbone(kind, tmp_path)
    check_gradients(
        tmp_path, PROMPT, padding, lambda values: by_hand(kind, tmp_path, padding, values)
    )


def test_token_types_of_a_pair_stay_with_the_text(tmp_path: Path) -> None:
    """And BERT's own pooler reads the first column, which is the prompt's."""
    save_backbone("bert", tmp_path)
    model, values = ours(tmp_path, PROMPT)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    batch = batch_of("right")
    types = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1, 1]] * 3)
    prompt = values["prompt_encoder.embedding.weight"].expand(3, -1, -1)
    embeds = theirs.bert.get_input_embeddings()(batch["input_ids"])
    zeros = torch.zeros(3, LENGTH, dtype=torch.long)
    with torch.no_grad():
        expected = theirs.bert(
            inputs_embeds=torch.cat((prompt, embeds), dim=1),
            attention_mask=torch.cat((zeros + 1, batch["attention_mask"]), dim=1),
            token_type_ids=torch.cat((zeros, types), dim=1),
        )
        seen = []
        model.backbone.register_forward_hook(lambda *call: seen.append(call[2]))
        features = model.eval()(**batch, token_type_ids=types).features
    real = batch["attention_mask"].bool()
    found, wanted = seen[0].last_hidden_state, expected.last_hidden_state
    torch.testing.assert_close(found[:, LENGTH:][real], wanted[:, LENGTH:][real], rtol=0, atol=1e-5)
    torch.testing.assert_close(features, wanted[:, LENGTH], rtol=0, atol=1e-5)
    torch.testing.assert_close(seen[0].pooler_output, expected.pooler_output, rtol=0, atol=1e-5)
