"""LoRA terms bound for a forward pass, against models that PEFT has put its layers into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from plain import (
    check_gradients,
    decoder_start,
    head_logits,
    leaves,
    loss_of,
    ours,
    plain_backbone,
)
from tiny import SAMPLED_TYPES, batch_of, save_backbone
from torch import Tensor

from ptv2_scale.config import Lora
from ptv2_scale.methods.lora.layers import target_names
from ptv2_scale.model.prompted import PromptedModel

LORA = {"method": "lora", "rank": 3, "alpha": 5.0}


def by_hand(
    kind: str, folder: Path, section: dict[str, Any], values: dict[str, Tensor]
) -> dict[str, Tensor]:
    backbone, head, batch = plain_backbone(folder), leaves(values), batch_of("right")
    targets = target_names(Lora(**section), backbone.config)
    config = LoraConfig(
        r=3, lora_alpha=5.0, target_modules=targets, use_rslora=section.get("rslora", False)
    )
    theirs = get_peft_model(backbone, config).train()
    places = {
        name: "base_model.model." + name.removeprefix("lora.").replace(".weight", ".default.weight")
        for name in values
        if name.startswith("lora.")
    }
    parameters = dict(theirs.named_parameters())
    trained = {name for name, one in parameters.items() if one.requires_grad}
    assert trained == set(places.values())
    with torch.no_grad():
        for name, place in places.items():
            parameters[place].copy_(values[name])
    hidden = theirs(**batch, **decoder_start(kind, 3)).last_hidden_state
    loss_of(head_logits(kind, hidden, batch["attention_mask"], head)).backward()
    own = {name: parameters[place].grad for name, place in places.items()}
    return own | {name: one.grad for name, one in head.items() if name.startswith("head.")}


@pytest.mark.parametrize("kind", SAMPLED_TYPES)
def test_gradients_are_those_of_pefts_model(kind: str, tmp_path: Path) -> None:
    save_backbone(kind, tmp_path)
    check_gradients(tmp_path, LORA, "right", lambda values: by_hand(kind, tmp_path, LORA, values))


def test_other_layers_and_another_scale(tmp_path: Path) -> None:
    section = {**LORA, "rslora": True, "target_modules": ["c_proj", "c_fc"]}
    save_backbone("gpt2", tmp_path)
    check_gradients(
        tmp_path, section, "right", lambda values: by_hand("gpt2", tmp_path, section, values)
    )


@pytest.mark.parametrize("checkpointing", [False, True])
def test_two_adapters_on_one_backbone_before_one_backward_pass(
    checkpointing: bool, tmp_path: Path
) -> None:
    save_backbone("llama", tmp_path)
    first, _ = ours(tmp_path, LORA, checkpointing)
    second = PromptedModel(first.backbone, first.family, first.head, first.method).train()
    second.adapter.to_empty(device="cpu")
    batch = batch_of("right")

    def found(*models: PromptedModel) -> list[Tensor]:
        for model in models:
            model.zero_grad()
        sum(loss_of(model(**batch).outputs) for model in models).backward()
        return [p.grad for model in models for p in model.adapter.parameters()]

    with torch.no_grad():
        for parameter in second.adapter.parameters():
            parameter.normal_(0, 0.3)
    both = found(first, second)
    alone = [*found(first), *found(second)]
    assert all(torch.equal(a, b) for a, b in zip(both, alone, strict=True))
    without = first(entry=None, **batch).outputs
    assert not torch.equal(first(**batch).outputs, without)
    assert not any("lora" in name for name, _ in first.backbone.named_parameters())


def test_dropout_acts_on_a_terms_input_alike_in_recomputation(tmp_path: Path) -> None:
    save_backbone("llama", tmp_path)
    gradients = []
    for checkpointing in (False, True):
        model, _ = ours(tmp_path, {**LORA, "dropout": 0.5}, checkpointing)
        torch.manual_seed(3)
        loss_of(model(**batch_of("right")).outputs).backward()
        gradients.append([p.grad for p in model.adapter.parameters()])
        torch.manual_seed(4)
        assert not torch.equal(model(**batch_of("none")).outputs, model(**batch_of("none")).outputs)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
