"""P-Tuning, against an encoder written out, PEFT's own encoder, and transformers fed by hand."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PromptEncoder, PromptEncoderConfig
from peft_folders import check_peft, refused_by_peft
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
from points import sample
from safetensors.torch import load_file
from tiny import MODEL_TYPES, SAMPLED_TYPES, batch_of, save_backbone, write_recipe
from torch import Tensor

from ptv2_scale import load_prompted, train
from ptv2_scale.backbones.tensor_files import read_whole
from ptv2_scale.checkpoint.shards import CheckpointShards, StoredValues
from ptv2_scale.methods.base import PROMPT_FILE

LENGTH, HIDDEN, WIDTH = 5, 12, 32
STEM = "prompt_encoder."


def section(encoder: str) -> dict[str, Any]:
    return {"method": "ptuning", "length": LENGTH, "encoder": encoder, "hidden": HIDDEN}


def pefts_encoder(encoder: str, width: int = WIDTH) -> PromptEncoder:
    config = PromptEncoderConfig(
        num_virtual_tokens=LENGTH, token_dim=width, num_transformer_submodules=1,
        encoder_hidden_size=HIDDEN, encoder_reparameterization_type=encoder.upper(),
    )  # fmt: skip
    return PromptEncoder(config)


def with_pefts_names(values: dict[str, Tensor]) -> dict[str, Tensor]:
    own = {name.removeprefix(STEM): one for name, one in values.items() if name.startswith(STEM)}
    return {name.removeprefix("table."): one for name, one in own.items()}


def by_hand(kind: str, folder: Path, encoder: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
    backbone, head = plain_backbone(folder).requires_grad_(False), leaves(values)
    width = values[f"{STEM}table.embedding.weight"].shape[1]
    theirs = pefts_encoder(encoder, width)
    theirs.load_state_dict(with_pefts_names(values))
    batch = batch_of("right")
    text, mask = backbone.get_input_embeddings()(batch["input_ids"]), batch["attention_mask"]
    longer = torch.cat((torch.ones(3, LENGTH, dtype=torch.long), mask), dim=1)
    prompt = theirs(torch.arange(LENGTH)[None])
    hidden = backbone(
        inputs_embeds=torch.cat((prompt.expand(3, -1, -1), text), dim=1),
        attention_mask=longer,
        **positions_of(kind, longer),
        **decoder_start(kind, 3),
    ).last_hidden_state
    own = hidden if kind in ("t5", "mt5") else hidden[:, LENGTH:]
    loss_of(head_logits(kind, own, mask, head)).backward()
    found = {name: value.grad for name, value in head.items() if value.grad is not None}
    table = {f"{STEM}table.embedding.weight": theirs.embedding.weight.grad}
    layers = {n: p.grad for n, p in theirs.named_parameters() if not n.startswith("embedding")}
    return found | table | {STEM + name: gradient for name, gradient in layers.items()}


@pytest.mark.parametrize(
    ("encoder", "kind"), sample([*product(("lstm", "mlp"), MODEL_TYPES)], len(SAMPLED_TYPES))
)
def test_gradients_are_those_of_pefts_encoder(encoder: str, kind: str, tmp_path: Path) -> None:
    save_backbone(kind, tmp_path)
    check_gradients(
        tmp_path,
        section(encoder),
        "right",
        lambda values: by_hand(kind, tmp_path, encoder, values),
    )


@pytest.mark.parametrize("encoder", ["lstm", "mlp"])
def test_the_guard_passes(encoder: str, tmp_path: Path) -> None:
    model, _ = ours(save_backbone("llama", tmp_path), section(encoder), checkpointing=True)
    model.method.guard(model, model, batch_of("right"))
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("encoder", ["lstm", "mlp"])
def test_an_export_holds_what_the_encoder_made(encoder: str, tmp_path: Path) -> None:
    """The checkpoint's encoder, run by PEFT's code, against the table in the export."""
    recipe = write_recipe(
        tmp_path, "t5", prompt=section(encoder), train={"steps": 4, "micro_batch": 6}
    )
    train(recipe)
    run = tmp_path / "run"
    exported = load_file(run / "export" / PROMPT_FILE)
    assert exported["prompt"].shape == (LENGTH, WIDTH)
    stored = StoredValues(CheckpointShards(run / "checkpoints" / "step-00000004"))
    values = {name: read_whole(stored, name) for name in stored.names()}
    model = load_prompted(run)
    assert torch.equal(model.adapter.embedding.weight, exported["prompt"])
    theirs = pefts_encoder(encoder)
    theirs.load_state_dict(with_pefts_names(values))
    with torch.no_grad():
        made = theirs(torch.arange(LENGTH)[None])[0]
    torch.testing.assert_close(made, exported["prompt"], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_peft_loads_the_folded_prompt(kind: str, tmp_path: Path) -> None:
    theirs = check_peft(tmp_path, kind, section("table"))
    assert theirs.active_peft_config.peft_type == "PROMPT_TUNING"


def test_what_peft_reads_elsewhere_is_refused(tmp_path: Path) -> None:
    assert "reads another column" in refused_by_peft(tmp_path, "roberta", section("table"))
