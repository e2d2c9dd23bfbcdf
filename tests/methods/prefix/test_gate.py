"""The gate of LLaMA-Adapter: zero at first, against attention written out in plain PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft_folders import refused_by_peft
from plain import (
    check_gradients,
    decoder_start,
    head_logits,
    leaves,
    loss_of,
    ours,
    positions_of,
)
from points import sample
from safetensors.torch import load_file
from tiny import batch_of, save_backbone, write_recipe
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, AutoModel
from transformers.masking_utils import sdpa_mask

from ptv2_scale import load_prompted, load_row_encoder, train
from ptv2_scale.backbones.families import family_of
from ptv2_scale.backbones.family import attention_modules
from ptv2_scale.config import Prefix

LENGTH = 4
GATED = {"length": LENGTH, "dropout": 0.0, "gate": True, "init_scale": 0.5}
STEM = "prefix_encoder."


def written_out(keys_values: Tensor, gates: Tensor, slots: dict[Any, int]) -> Any:
    """Attention as the paper has it: two softmaxes, the prefix's times tanh of its gate."""

    def attention(
        module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None,
        scaling: float, position_bias: Tensor | None = None, **_: Any,
    ) -> tuple[Tensor, None]:  # fmt: skip
        scores = query @ wide(key, query).transpose(2, 3) * scaling
        scores = scores if position_bias is None else scores + position_bias
        scores = scores if mask is None else scores.masked_fill(~mask, torch.finfo().min)
        mixed = scores.softmax(-1) @ wide(value, query)
        keys, values = keys_values[slots[module]].expand(3, -1, -1, -1, -1).unbind(1)
        front = (query @ wide(keys, query).transpose(2, 3) * scaling).softmax(-1)
        gate = gates[slots[module]].tanh()[None, :, None, None]
        return (mixed + gate * (front @ wide(values, query))).transpose(1, 2).contiguous(), None

    return attention


def wide(states: Tensor, query: Tensor) -> Tensor:
    """Key/value heads for each head of a query."""
    return states.repeat_interleave(query.shape[1] // states.shape[1], dim=1)


def whole_masks(*arguments: Any, **options: Any) -> Tensor | None:
    return sdpa_mask(*arguments, **{**options, "allow_is_causal_skip": False})


def by_hand(kind: str, folder: Path, values: dict[str, Tensor]) -> dict[str, Tensor]:
    trained, batch, slots = leaves(values), batch_of("right"), {}
    table = trained[f"{STEM}embedding.weight"]
    gates = trained[f"{STEM}gate.weight"]
    heads = {"llama": 2}.get(kind, 4)
    official = table.view(LENGTH, gates.shape[0], 2, heads, -1).permute(1, 2, 3, 0, 4)
    AttentionInterface.register("two_softmaxes_sdpa", written_out(official, gates, slots))
    AttentionMaskInterface.register("two_softmaxes_sdpa", whole_masks)
    backbone = AutoModel.from_pretrained(folder, attn_implementation="two_softmaxes_sdpa")
    family = family_of(backbone.config, "")
    modules = attention_modules(family, backbone, backbone.config)
    slots.update({module: row for row, (_, _, module) in enumerate(modules)})
    mask = batch["attention_mask"]
    places = {name: one + LENGTH for name, one in positions_of(kind, mask).items()}
    hidden = backbone(**batch, **places, **decoder_start(kind, 3)).last_hidden_state
    loss_of(head_logits(kind, hidden, mask, trained)).backward()
    return {name: value.grad for name, value in trained.items() if value.grad is not None}


@pytest.mark.parametrize("kind", ["llama", "t5", "bert"])
def test_gradients_are_those_of_attention_written_out(kind: str, tmp_path: Path) -> None:
    save_backbone(kind, tmp_path)
    check_gradients(tmp_path, GATED, "right", lambda values: by_hand(kind, tmp_path, values))


@pytest.mark.parametrize("kind", ["llama", "t5", "deberta-v2", "glm_classic", "gemma2"])
def test_a_closed_gate_leaves_the_backbone_as_it_is_and_passes_the_guard(
    kind: str, tmp_path: Path
) -> None:
    prompt = {**GATED, "positions": "keep"}
    model, _ = ours(save_backbone(kind, tmp_path), prompt, checkpointing=True)
    model.eval()
    batch = batch_of("left")
    with torch.no_grad():
        assert not torch.equal(model(**batch).outputs, model(entry=None, **batch).outputs)
        model.adapter.gate.weight.zero_()
        assert torch.equal(model(**batch).outputs, model(entry=None, **batch).outputs)
    model.method.guard(model, model, batch)


@pytest.mark.parametrize("encoder", sample(["table", "mlp"], 1))
def test_a_run_opens_it_and_the_export_holds_it(encoder: str, tmp_path: Path) -> None:
    prompt = {"length": LENGTH, "gate": True, "encoder": encoder}
    recipe = write_recipe(tmp_path, "llama", prompt=prompt, train={"steps": 3, "micro_batch": 6})
    train(recipe)
    tensors = load_file(tmp_path / "run" / "export" / "prompt.safetensors")
    assert tensors["gate"].shape == (3, 4)
    assert tensors["gate"].abs().min() > 0
    model, encode = load_prompted(tmp_path / "run"), load_row_encoder(tmp_path / "run")
    assert torch.equal(model.adapter.gate.weight, tensors["gate"])
    rows = encode([{"text": "w1 w2"}])
    with torch.no_grad():
        assert not torch.equal(model(**rows).outputs, model(entry=None, **rows).outputs)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    if encoder == "table":
        assert result["trained_parameters"] == sum(one.numel() for one in tensors.values())


def test_what_it_does_not_go_with(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a prefix of zeros gets no gradient"):
        Prefix.model_validate({"gate": True, "init": "zero"})
    assert "this prefix has a gate" in refused_by_peft(tmp_path, "llama", GATED)
