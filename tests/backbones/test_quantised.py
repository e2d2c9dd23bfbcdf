"""Quantised folders are named as such, with what quantised them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import save_backbone, save_tokenizer, write_recipe

from ptv2_scale.backbones.load import load_backbone
from ptv2_scale.cli import main
from ptv2_scale.runtime.errors import UserError

# What the published folders of each kind say, and the words that must be in the message.
SECTIONS: list[tuple[dict[str, Any], str]] = [
    ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
     "bitsandbytes, 4 bit"),
    ({"load_in_8bit": True, "load_in_4bit": False}, "8 bit"),
    ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq, 4 bit"),
    ({"quant_method": "awq", "bits": 4, "zero_point": True}, "awq, 4 bit"),
    ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
    ({"quant_method": "compressed-tensors", "format": "pack-quantized"}, "compressed-tensors"),
    ({"quant_method": "mxfp4"}, "mxfp4"),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_backbone("llama", tmp_path / "backbone")


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_backbone(str(folder))
    message = str(caught.value)
    assert "this backbone is quantised (" in message
    assert "Name the folder of the model that it was made from" in message
    return message


def set_key(folder: Path, key: str, value: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))


@pytest.mark.parametrize(("section", "words"), SECTIONS)
def test_the_configuration_says_so(folder: Path, section: dict[str, Any], words: str) -> None:
    set_key(folder, "quantization_config", section)
    assert words in refusal(folder)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("quantize_config.json", {"bits": 4, "group_size": 128}, "4 bit"),
        ("quant_config.json", {"w_bit": 4, "version": "GEMM"}, "4 bit"),
        ("hf_quant_config.json", {"quantization": {"quant_algo": "FP8"}}, "FP8"),
    ],
)
def test_a_file_beside_it_says_so(folder: Path, name: str, content: Any, words: str) -> None:
    (folder / name).write_text(json.dumps(content))
    assert words in refusal(folder)


@pytest.mark.parametrize("end", ["qweight", "scales", "weight_scale_inv", "SCB", "weight.absmax"])
def test_the_tensors_say_so(folder: Path, end: str) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    layer = "layers.0.mlp.up_proj"
    if end == "qweight":
        del tensors[f"{layer}.weight"]
    save_file({**tensors, f"{layer}.{end}": torch.ones(2)}, path)
    assert f"{layer}.{end}" in refusal(folder)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_the_number_format_says_so(folder: Path, dtype: torch.dtype) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["layers.0.mlp.up_proj.weight"] = torch.zeros(48, 32).to(dtype)
    save_file(tensors, path)
    assert f"layers.0.mlp.up_proj.weight is of {dtype}" in refusal(folder)


def test_what_is_left_of_a_model_that_was_dequantised_is_none(folder: Path) -> None:
    set_key(folder, "quantization_config", {"load_in_4bit": False, "load_in_8bit": False})
    load_backbone(str(folder))


def test_the_command_line_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path, "llama")
    set_key(tmp_path / "backbone", "quantization_config", {"quant_method": "gptq", "bits": 4})
    save_tokenizer(tmp_path / "backbone")
    assert main(["inspect", str(recipe)]) == 2
    assert "quantised (quantization_config: gptq, 4 bit)" in capsys.readouterr().err
