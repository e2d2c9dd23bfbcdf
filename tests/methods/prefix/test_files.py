"""Prefix files of the official P-Tuning v2 code and of ChatGLM, and files that are none."""

from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ptv2_scale.methods.prefix.encoder import PrefixShape, flatten, unflatten
from ptv2_scale.methods.prefix.files import read_flat_prefix, read_tensors
from ptv2_scale.runtime.errors import UserError

LENGTH, LAYERS, HEADS, WIDTH = 5, 3, 4, 8
HIDDEN = HEADS * WIDTH
SHAPE = PrefixShape(LENGTH, tuple(("encoder", layer) for layer in range(LAYERS)), HEADS, WIDTH)


class OfficialPrefixEncoder(nn.Module):
    """The official code's module, written anew from its description: names, sizes, arithmetic."""

    def __init__(self, projection: bool, inner: int = HIDDEN) -> None:
        super().__init__()
        self.projection = projection
        if projection:
            self.embedding = nn.Embedding(LENGTH, inner)
            self.trans = nn.Sequential(
                nn.Linear(inner, 16), nn.Tanh(), nn.Linear(16, LAYERS * 2 * HIDDEN)
            )
        else:
            self.embedding = nn.Embedding(LENGTH, LAYERS * 2 * HIDDEN)

    def get_prompt(self, batch: int) -> tuple[Tensor, ...]:
        """past_key_values: a tensor [2, batch, heads, length, width] for each layer."""
        tokens = torch.arange(LENGTH).unsqueeze(0).expand(batch, -1)
        rows = self.embedding(tokens)
        rows = self.trans(rows) if self.projection else rows
        rows = rows.view(batch, LENGTH, LAYERS * 2, HEADS, WIDTH)
        return rows.permute([2, 0, 3, 1, 4]).split(2)


def save_checkpoint(encoder: nn.Module, path: Path, stem: str, old: bool = False) -> None:
    """A Trainer's pytorch_model.bin: the prefix encoder among other parameters."""
    state = {f"{stem}prefix_encoder.{name}": value for name, value in encoder.state_dict().items()}
    state["classifier.weight"] = torch.ones(2, HIDDEN)
    torch.save(state, path, _use_new_zipfile_serialization=not old)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize(
    ("stem", "inner"), [("", HIDDEN), ("transformer.", HIDDEN), ("transformer.", 20)]
)
def test_official_and_chatglm_checkpoints(
    stem: str, inner: int, projection: bool, old: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    encoder = OfficialPrefixEncoder(projection, inner)
    save_checkpoint(encoder, tmp_path / "pytorch_model.bin", stem, old)
    for path in (tmp_path, tmp_path / "pytorch_model.bin"):
        found = unflatten(read_flat_prefix(path, SHAPE), SHAPE)
        expected = torch.stack(encoder.get_prompt(2))[:, :, 1]
        assert found.shape == (LAYERS, 2, HEADS, LENGTH, WIDTH)
        torch.testing.assert_close(found, expected.detach(), rtol=0, atol=1e-6)


def test_half_precision_is_read_as_fp32(tmp_path: Path) -> None:
    encoder = OfficialPrefixEncoder(True).half()
    save_checkpoint(encoder, tmp_path / "pytorch_model.bin", "transformer.")
    found = unflatten(read_flat_prefix(tmp_path, SHAPE), SHAPE)
    expected = torch.stack(encoder.float().get_prompt(1))[:, :, 0]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=1e-6)


def test_flatten_is_the_other_way_round() -> None:
    flat = torch.randn(LENGTH, LAYERS * 2 * HIDDEN)
    assert torch.equal(flatten(unflatten(flat, SHAPE)), flat)
    # A row is layer 0's key, layer 0's value, layer 1's key, ..., each head after head.
    keys_values = unflatten(flat, SHAPE)
    first_head_of_layer_1s_value = flat[2, 3 * HIDDEN : 3 * HIDDEN + WIDTH]
    assert torch.equal(keys_values[1, 1, 0, 2], first_head_of_layer_1s_value)


class Hostile:
    """Unpickled by an unguarded reader, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("form", ["zip", "old", "pickle"])
def test_a_hostile_file_is_refused_and_its_code_not_run(form: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "pytorch_model.bin"
    content = {"prefix_encoder.embedding.weight": Hostile(mark)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(UserError, match="would run code from it, which is refused") as caught:
        read_flat_prefix(tmp_path, SHAPE)
    assert not mark.exists()
    assert "weights_only" not in str(caught.value)
    with suppress(RuntimeError):  # the file is hostile indeed
        torch.load(path, weights_only=False)
    assert mark.exists()


def message_of(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_flat_prefix(path, SHAPE)
    return str(caught.value)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 20, b"\xff" * 64, b"PK\x03\x04" + b"0" * 99])
def test_garbage_is_not_a_file_of_tensors(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert message_of(tmp_path).startswith(f"{tmp_path / name}: not a readable")


def test_a_pickled_list_is_not_a_file_of_tensors(tmp_path: Path) -> None:
    torch.save([torch.ones(2)], tmp_path / "pytorch_model.bin")
    assert "not a readable file of tensors" in message_of(tmp_path)


def test_other_sizes_are_named(tmp_path: Path) -> None:
    save_file({"prompt_embeddings": torch.ones(LENGTH + 1, 99)}, tmp_path / "a.safetensors")
    message = message_of(tmp_path / "a.safetensors")
    assert "holds a prefix of [6, 99]" in message
    assert "[5, 192] (3 slots, 2, 4 heads of 8)" in message


def test_a_file_without_a_prefix_says_what_it_holds(tmp_path: Path) -> None:
    save_file({"lora_A": torch.ones(2)}, tmp_path / "adapter_model.safetensors")
    message = message_of(tmp_path)
    assert "holds no prefix" in message
    assert "found lora_A" in message


def test_a_folder_without_a_known_file_says_what_was_looked_for(tmp_path: Path) -> None:
    assert "no prefix found; looked for prompt.safetensors" in message_of(tmp_path)
    assert "no prefix found" in message_of(tmp_path / "nowhere")


@pytest.mark.parametrize("leaf", ["0.weight", "0.bias", "2.weight", "2.bias"])
def test_half_an_mlp_is_refused(leaf: str, tmp_path: Path) -> None:
    state = OfficialPrefixEncoder(True).state_dict()
    del state[f"trans.{leaf}"]
    save_file({f"prefix_encoder.{k}": v for k, v in state.items()}, tmp_path / "a.safetensors")
    assert "prefix_encoder.trans" in message_of(tmp_path / "a.safetensors")


def test_an_mlp_of_odd_sizes_is_refused(tmp_path: Path) -> None:
    state = OfficialPrefixEncoder(True).state_dict()
    state["trans.0.weight"] = torch.ones(16, 7)
    save_file({f"prefix_encoder.{k}": v for k, v in state.items()}, tmp_path / "a.safetensors")
    assert "odd sizes" in message_of(tmp_path / "a.safetensors")


def test_only_tensors_are_taken(tmp_path: Path) -> None:
    torch.save({"step": 3, "prefix": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    assert list(read_tensors(tmp_path / "pytorch_model.bin")) == ["prefix"]
