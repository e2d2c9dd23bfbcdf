"""Prefix files of others, in and out: PEFT's, the official P-Tuning v2 code's, ChatGLM's.

All of them, and our own export, keep a prefix in the same flat layout [length, layers * 2 * width]
(a row is layer 0's key, layer 0's value, layer 1's key, ...), under different names; some keep the
MLP that makes it instead.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ptv2_scale.backbones.tensor_files import read_tensors
from ptv2_scale.methods.base import PROMPT_FILE
from ptv2_scale.methods.prefix.encoder import PrefixShape
from ptv2_scale.runtime.errors import UserError

# Where a folder keeps a prefix: our export, PEFT, the official code or ChatGLM's.
_FILES = (
    PROMPT_FILE,
    "adapter_model.safetensors",
    "adapter_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)


def prefix_file(path: Path) -> Path:
    """The file that holds a prefix: `path` itself, or the known file in that folder.

    Raises:
        UserError: there is none; says what was looked for.
    """
    if os.path.isfile(path):
        return path
    for name in _FILES:
        if os.path.isfile(path / name):
            return path / name
    raise UserError(f"{path}: no prefix found; looked for {', '.join(_FILES)} in this folder.")


def flat_prefix(tensors: Mapping[str, Tensor]) -> Tensor | None:
    """The flat prefix [length, row] among named tensors of any known format, or None.

    Raises:
        ValueError: an MLP is there whose tensors do not go together.
    """
    for name in ("prefix", "prompt_embeddings"):
        if name in tensors:
            return tensors[name].float()
    found = [name for name in tensors if name.endswith("prefix_encoder.embedding.weight")]
    if not found:
        return None
    stem = found[0].removesuffix("embedding.weight")
    rows = tensors[found[0]].float()
    if not any(name.startswith(f"{stem}trans.") for name in tensors):
        return rows
    try:
        return _through_mlp(rows, tensors, f"{stem}trans.")
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"its MLP '{stem}trans' is incomplete or of odd sizes: {error}") from None


def _through_mlp(rows: Tensor, tensors: Mapping[str, Tensor], stem: str) -> Tensor:
    def linear(number: int, inputs: Tensor) -> Tensor:
        weight, bias = (tensors[f"{stem}{number}.{leaf}"].float() for leaf in ("weight", "bias"))
        return torch.nn.functional.linear(inputs, weight, bias)

    return linear(2, torch.tanh(linear(0, rows)))


def read_flat_prefix(path: Path, shape: PrefixShape) -> Tensor:
    """A saved prefix [length, row], fp32, checked against the sizes it is wanted for.

    Args:
        path: a file, or a folder of ours, PEFT's, the official code's or ChatGLM's.
        shape: of the prefix to be filled.

    Raises:
        UserError: it is not there, holds no prefix, or one of other sizes.
    """
    file = prefix_file(path)
    tensors = read_tensors(file)
    try:
        flat = flat_prefix(tensors)
    except (ValueError, NotImplementedError) as error:  # numbers PyTorch cannot convert
        raise UserError(f"{file}: {error}.") from None
    if flat is None:
        names = ", ".join(sorted(tensors)[:3])
        raise UserError(
            f"{file}: holds no prefix; looked for 'prefix', 'prompt_embeddings' or"
            f" '*prefix_encoder.embedding.weight', found {names or 'nothing'}."
        )
    if tuple(flat.shape) != (shape.length, shape.row):
        raise UserError(
            f"{file}: holds a prefix of {list(flat.shape)}, but this one is"
            f" [{shape.length}, {shape.row}] ({len(shape.slots)} slots, 2,"
            f" {shape.kv_heads} heads of {shape.head_dim})."
        )
    return flat


def peft_config(shape: PrefixShape, frozen_tokens: int = 0) -> dict[str, object]:
    """Keys of PEFT's adapter_config.json for a prefix in every layer.

    `init_weights` and `peft_version` are left out, so that older versions of PEFT read it too;
    the MLP is folded in, as PEFT itself does when it saves.

    Args:
        shape: of the prefix.
        frozen_tokens: first tokens that are not trained, which PEFT's CARTRIDGE alone knows of; its
            folder holds the same tensor.
    """
    width = shape.kv_heads * shape.head_dim
    sizes = {
        "num_virtual_tokens": shape.length,
        "token_dim": width,
        "num_transformer_submodules": 1,
        "num_attention_heads": shape.kv_heads,
        "num_layers": len(shape.slots),
    }
    if frozen_tokens:
        return {"peft_type": "CARTRIDGE", **sizes, "num_frozen_tokens": frozen_tokens}
    own = {"encoder_hidden_size": width, "prefix_projection": False}
    return {"peft_type": "PREFIX_TUNING", **sizes, **own}
