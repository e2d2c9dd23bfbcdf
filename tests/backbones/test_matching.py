"""Tensors in a backbone's files that the built model has no place for, and those it may leave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tiny import batch_of, save_backbone, write_recipe
from torch import Tensor
from transformers import AutoModel

from ptv2_scale.backbones.load import load_backbone
from ptv2_scale.cli import main
from ptv2_scale.runtime.errors import UserError


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value != "gone"}))


def add_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    path = folder / "model.safetensors"
    save_file({**load_file(path), **tensors}, path)


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_backbone(str(folder))
    return str(caught.value)


def with_biases(folder: Path) -> Path:
    """A Llama whose MLPs have biases, as its config.json says."""
    save_backbone("llama", folder, mlp_bias=True)
    names = [n for n in load_file(folder / "model.safetensors") if ".mlp." in n and "bias" in n]
    add_tensors(folder, {name: torch.ones(48 if "down" not in name else 32) for name in names})
    return folder


def test_biases_without_their_key_in_the_configuration(tmp_path: Path) -> None:
    folder = with_biases(tmp_path / "backbone")
    with torch.no_grad():
        whole = AutoModel.from_pretrained(folder)(**batch_of()).last_hidden_state
        ours = load_backbone(str(folder))(**batch_of()).last_hidden_state
        change_config(folder, mlp_bias="gone")
        without = AutoModel.from_pretrained(folder)(**batch_of()).last_hidden_state
    assert torch.allclose(ours, whole, atol=1e-5)
    assert (whole - without).abs().max() > 0.5  # what would have been lost in silence
    message = refusal(folder)
    assert "9 tensors have no place in this Llama, layers.0.mlp.down_proj.bias" in message


def test_norms_of_queries_and_keys_under_a_llamas_configuration(tmp_path: Path) -> None:
    save_backbone("qwen3", tmp_path)
    change_config(tmp_path, model_type="llama", layer_types="gone", max_window_layers="gone")
    assert "6 tensors have no place in this Llama, layers.0.self_attn.k_norm" in refusal(tmp_path)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_an_adapter_beside_its_weights(tmp_path: Path, prefix: str) -> None:
    save_backbone("llama", tmp_path)
    path = tmp_path / "model.safetensors"
    save_file({prefix + name: value for name, value in load_file(path).items()}, path)
    names = [f"{prefix}layers.0.self_attn.q_proj.lora_{one}.weight" for one in "AB"]
    add_tensors(tmp_path, {name: torch.ones(2, 32) for name in names})
    message = refusal(tmp_path)
    assert f"2 tensors have no place in this Llama, {names[0]}" in message
    assert "merge_and_unload" in message


@pytest.mark.parametrize(("kind", "key"), [("llama", "num_hidden_layers"), ("gpt2", "n_layer")])
def test_layers_beyond_those_of_the_configuration(tmp_path: Path, kind: str, key: str) -> None:
    save_backbone(kind, tmp_path)
    change_config(tmp_path, **{key: 2, "layer_types": "gone"})
    assert "have no place" in refusal(tmp_path)
    assert f"{'layers' if kind == 'llama' else 'h'}.2." in refusal(tmp_path)


def test_gates_of_another_t5(tmp_path: Path) -> None:
    """A T5 with a bias that no code of transformers has."""
    save_backbone("t5", tmp_path)
    add_tensors(tmp_path, {"encoder.block.0.layer.0.SelfAttention.q.bias": torch.ones(48)})
    assert "SelfAttention.q.bias" in refusal(tmp_path)


def test_one_tensor_with_and_without_the_models_prefix(tmp_path: Path) -> None:
    save_backbone("llama", tmp_path)
    norm = {"model.norm.weight": torch.full((32,), 2.0)}
    add_tensors(tmp_path, norm)
    assert "norm.weight and model.norm.weight are one parameter" in refusal(tmp_path)


@pytest.mark.parametrize("twin", ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"])
def test_tied_weights_that_differ_in_the_file(tmp_path: Path, twin: str) -> None:
    save_backbone("t5", tmp_path)
    table = load_file(tmp_path / "model.safetensors")["shared.weight"]
    add_tensors(tmp_path, {twin: table.clone()})
    load_backbone(str(tmp_path))
    table[77, 3] += 1
    add_tensors(tmp_path, {twin: table.clone()})
    assert f"shared.weight and {twin} are one parameter of this T5" in refusal(tmp_path)


KNOWN = [
    ("llama", "lm_head.weight"), ("llama", "score.weight"), ("qwen2", "v_head.summary.weight"),
    ("llama", "layers.1.self_attn.rotary_emb.inv_freq"), ("bert", "cls.predictions.bias"),
    ("bert", "embeddings.position_ids"), ("roberta", "lm_head.dense.weight"),
    ("roberta", "embeddings.position_ids"), ("gpt2", "h.0.attn.bias"), ("t5", "lm_head.weight"),
    ("gpt2", "h.2.attn.masked_bias"), ("gpt_neox", "embed_out.weight"),
    ("gpt_neox", "layers.0.attention.masked_bias"), ("phi3", "rotary_emb.inv_freq"),
    ("gpt_neox", "layers.0.attention.rotary_emb.inv_freq"), ("opt", "decoder.version"),
    ("t5", "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), KNOWN)
def test_heads_and_what_is_computed_anyway_may_lie_there(
    tmp_path: Path, kind: str, name: str
) -> None:
    save_backbone(kind, tmp_path)
    add_tensors(tmp_path, {name: torch.ones(3)})
    load_backbone(str(tmp_path))


def test_what_stands_beside_a_named_backbone_is_no_part_of_it(tmp_path: Path) -> None:
    save_backbone("bert", tmp_path)
    path = tmp_path / "model.safetensors"
    save_file({f"bert.{name}": value for name, value in load_file(path).items()}, path)
    add_tensors(tmp_path, {"crf.transitions": torch.ones(3, 3)})
    load_backbone(str(tmp_path))
    add_tensors(tmp_path, {"bert.crf.transitions": torch.ones(3, 3)})
    assert "bert.crf.transitions" in refusal(tmp_path)


def test_the_command_line_says_so_before_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path, "llama")
    name = yaml.safe_load(recipe.read_text())["backbone"]["name"]
    add_tensors(Path(name), {"layers.0.mlp.gate_proj.bias": torch.ones(48)})
    for command in ("inspect", "train"):
        assert main([command, str(recipe)]) == 2
        assert "layers.0.mlp.gate_proj.bias" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
