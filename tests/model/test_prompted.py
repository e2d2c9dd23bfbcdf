"""The prompted model: parameters of the backbone may be trained, too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import batch_of, save_backbone
from torch import Tensor
from transformers import AutoModel

from ptv2_scale.backbones.attention import enable_checkpointing
from ptv2_scale.backbones.load import load_backbone, open_backbone
from ptv2_scale.config import HeadOnly
from ptv2_scale.methods.base import Method
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.tasks.heads import LinearHead


class EveryParameter(Method):
    """All of the backbone's parameters are trained."""

    def trains(self, name: str) -> bool:
        return True


def loss_of(outputs: Tensor) -> Tensor:
    return (outputs * torch.linspace(-1, 1, outputs.numel()).view_as(outputs)).sum()


def expected_gradients(folder: Path, head: LinearHead) -> dict[str, Tensor]:
    """By transformers' own model and attention."""
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").train()
    batch = batch_of("right")
    start = torch.zeros(3, 1, dtype=torch.long)
    inputs = {**batch, "decoder_input_ids": start} if model.config.is_encoder_decoder else batch
    hidden = model(**inputs).last_hidden_state
    mask = torch.ones(3, 1) if model.config.is_encoder_decoder else batch["attention_mask"]
    loss_of(head(hidden, None, mask)).backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_a_trained_backbone_gets_the_gradients_of_transformers(
    kind: str, checkpointing: bool, tmp_path: Path
) -> None:
    save_backbone(kind, tmp_path)
    files, backbone = open_backbone(str(tmp_path)), load_backbone(str(tmp_path))
    torch.manual_seed(2)
    head = LinearHead(32, 3, files.family.pool)
    method = EveryParameter(HeadOnly(method="none"), files.family, files.config)
    model = PromptedModel(backbone, files.family, head, method).train()
    if checkpointing:
        enable_checkpointing(backbone)
    loss_of(model(**batch_of("right")).outputs).backward()
    expected = expected_gradients(tmp_path, head)
    found = dict(backbone.named_parameters())
    assert expected.keys() <= model.backbone.state_dict().keys()
    for name, gradient in expected.items():
        own = found[name].grad
        assert own is not None, name
        torch.testing.assert_close(
            own, gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max())
        )
