"""Weights in 8 bits: their error, the models that have them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_setup import fake_setup
from plain import loss_of
from rounded import integers_and_scales, linear_layers, rounded, save_rounded
from safetensors.torch import load_file, save_file
from tiny import SAMPLED_TYPES, batch_of, save_backbone
from torch import Tensor, nn
from transformers import AutoModel

from ptv2_scale import UserError, load_backbone
from ptv2_scale.backbones import int8
from ptv2_scale.backbones.attention import enable_checkpointing
from ptv2_scale.backbones.int8 import Int8Linear, dequantise, int8_layers, quantise
from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import build_model, first_values, model_filler

DTYPES = [torch.float32, torch.bfloat16]
PREFIX = {"length": 7, "dropout": 0.0, "init_scale": 0.5}


def stored(packed: Tensor) -> tuple[Tensor, Tensor]:
    """Integers and scales of a packed weight, byte by byte."""
    raw = packed.contiguous().view(torch.uint8).numpy().tobytes()
    integers = torch.from_numpy(np.frombuffer(raw, dtype=np.int8).copy())
    rows = integers.view(len(packed), -1)[:, packed.itemsize :]
    return rows.float(), packed[:, :1].float()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_value_moves_by_half_a_scale_at_most(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(5)
    sizes = torch.logspace(-20, 20, 64).view(-1, 1)  # of rows: each has a scale of its own
    weight = sizes * torch.randn(64, 96, generator=generator)
    packed = quantise(weight, dtype)
    assert packed.shape == (64, 1 + 96 // packed.itemsize)
    assert packed.dtype == dtype
    integers, scales = stored(packed)
    exact = integers.double() * scales.double()
    error = (exact - weight.double()).abs()
    assert (error <= scales.double() * (0.5 + 1e-4)).all()
    assert (error > scales.double() * 0.4).any()
    assert integers.abs().amax(1).tolist() == [127] * 64
    expected = integers_and_scales(weight, dtype)
    assert torch.equal(integers, expected[0])
    assert torch.equal(scales, expected[1])
    assert torch.equal(dequantise(packed), exact.to(dtype))


def test_halves_go_to_the_even_integer_and_zeros_stay() -> None:
    weight = torch.tensor([[-127, 0.5, 1.5, -2.5], [0, 0, 0, 0]])
    found = dequantise(quantise(weight, torch.float32))
    assert found.tolist() == [[-127, 0, 2, -2], [0, 0, 0, 0]]


def model_of(folder: Path, prompt: dict[str, Any], quantization: str | None) -> PromptedModel:
    backbone = {"name": str(folder), "dtype": "fp32", "dropout": 0.0, "quantization": quantization}
    setup = fake_setup(folder, prompt=prompt, backbone=backbone)
    model = build_model(setup)
    values = NamedTensors(first_values(setup))
    materialise(model, model_filler(setup, model, values), Unsharded())
    return model.train()


def check_rounded(folder: Path, prompt: dict[str, Any]) -> None:
    """A backbone in 8 bits is the backbone whose files hold the rounded weights."""
    other = save_rounded(folder, folder.with_name(f"{folder.name}-rounded"))
    for checkpointing in (False, True):
        models = model_of(folder, prompt, "int8"), model_of(other, prompt, None)
        found = []
        for model in models:
            if checkpointing:
                enable_checkpointing(model.backbone)
            outputs = model(**batch_of()).outputs
            loss_of(outputs).backward()
            found.append((outputs, {name: one.grad for name, one in model.trained().items()}))
        assert len(int8_layers(models[0])) == len(linear_layers(models[1].backbone)) > 0
        (outputs, gradients), (expected, wanted) = found
        assert torch.equal(outputs, expected)
        for name, gradient in wanted.items():
            # Sums over modules are made in another order.
            scale = float(gradient.abs().max())
            torch.testing.assert_close(gradients[name], gradient, rtol=0, atol=2e-6 * scale)


@pytest.mark.parametrize("kind", [kind for kind in SAMPLED_TYPES if kind != "gpt2"])
def test_a_prefix_learns_as_on_rounded_weights(kind: str, tmp_path: Path) -> None:
    check_rounded(save_backbone(kind, tmp_path / kind), PREFIX)


@pytest.mark.parametrize(
    "prompt",
    [
        {"method": "lora", "rank": 2},
        {"method": "prompt", "length": 5, "init": "random"},
        {"method": "ptuning", "length": 5, "hidden": 12},
    ],
    ids=lambda prompt: str(prompt["method"]),
)
def test_so_do_other_methods(prompt: dict[str, Any], tmp_path: Path) -> None:
    check_rounded(save_backbone("bert", tmp_path / "bert"), prompt)


def packed_layer(inputs: int, outputs: int) -> Int8Linear:
    layer = nn.Linear(inputs, outputs)
    layer.weight = nn.Parameter(quantise(layer.weight.detach(), torch.float32), False)
    layer.__class__ = Int8Linear
    assert isinstance(layer, Int8Linear)
    return layer


def test_no_dequantised_weight_waits_for_the_backward_pass() -> None:
    layer, saved = packed_layer(24, 40), []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    states = torch.randn(3, 24, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        made = layer(states)
    assert [one.data_ptr() for one in saved] == [layer.weight.data_ptr()]
    made.sum().backward()
    assert states.grad is not None
    plain = dequantise(layer.weight.detach())
    torch.testing.assert_close(states.grad, plain.sum(0).expand(3, -1))
    assert layer.bias.grad.tolist() == [3.0] * 40  # one that a method trains would be


def test_any_slice_is_filled_from_the_rows_that_it_touches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "PIECE", 50)  # two rows of 24 at once, which are 7 elements each
    weight, layer = torch.randn(40, 24), packed_layer(24, 40)
    whole, read = quantise(weight, torch.float32).view(-1), list[tuple[int, int]]()

    def rows(first: int, stop: int) -> Tensor:
        read.append((first, stop))
        return weight.view(-1)[first:stop]

    for start, stop in [(0, 280), (3, 4), (6, 15), (101, 279), (7, 14)]:
        read.clear()
        target = torch.empty(stop - start)
        int8.fill_packed(layer, rows, start, target)
        assert target.numpy().tobytes() == whole[start:stop].numpy().tobytes()
        assert read[0][0] == start // 7 * 24
        assert read[-1][1] == -(-stop // 7) * 24
        assert max(last - first for first, last in read) <= 48


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_whole_backbone_is_loaded_so(dtype: torch.dtype, tmp_path: Path) -> None:
    save_backbone("llama", tmp_path)
    name = "bf16" if dtype == torch.bfloat16 else "fp32"
    model = load_backbone(tmp_path, dtype=name, quantization="int8")  # type: ignore[arg-type]
    layers, stored_model = int8_layers(model), AutoModel.from_pretrained(tmp_path)
    weights = dict(stored_model.named_parameters())
    for key, parameter in model.named_parameters():
        if key in layers:
            found = dequantise(parameter)
            assert torch.equal(found, rounded(weights[key], dtype).to(dtype)), key
        else:
            assert torch.equal(parameter, weights[key].to(dtype)), key
    assert len(layers) == len(linear_layers(stored_model))
    with pytest.raises(TypeError, match="weights in 8 bits are bytes"):
        model.double()
    assert model.to("cpu") is model


def test_layers_of_an_odd_width_stay_as_they_are(tmp_path: Path) -> None:
    save_backbone("bert", tmp_path, intermediate_size=46)
    wide = load_backbone(tmp_path, dtype="bf16", quantization="int8")
    narrow = load_backbone(tmp_path, dtype="fp32", quantization="int8")
    assert len(int8_layers(wide)) == len(linear_layers(wide))
    left = set(int8_layers(wide)) - set(int8_layers(narrow))
    assert left == {f"encoder.layer.{number}.output.dense.weight" for number in range(3)}


def test_what_has_no_linear_layers_is_refused(tmp_path: Path) -> None:
    save_backbone("gpt2", tmp_path)
    with pytest.raises(UserError, match="backbone.quantization: int8 is for the linear layers"):
        load_backbone(tmp_path, quantization="int8")


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    save_backbone("llama", tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors["layers.1.mlp.up_proj.weight"][3, 4] = torch.nan
    save_file(tensors, path, {"format": "pt"})
    load_backbone(tmp_path)
    with pytest.raises(UserError, match=r"layers\.1\.mlp\.up_proj\.weight holds numbers that are"):
        load_backbone(tmp_path, quantization="int8")


def test_weights_in_8_bits_are_not_trained(tmp_path: Path) -> None:
    save_backbone("bert", tmp_path)
    with pytest.raises(UserError, match="keeps weights in 8 bits that prompt.method: full trains"):
        model_of(tmp_path, {"method": "full"}, "int8")
