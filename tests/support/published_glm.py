"""Classic GLM's published arithmetic restated with plain matmuls, and its folders as published.

The restatement keeps what the package leaves out because it changes no result: the constant -65504,
scores that are multiplied by the mask, and the guard against fp16 overflow.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

CONFIG: dict[str, Any] = {
    "architectures": ["GLMModel"],
    "model_type": "glm",
    "auto_map": {
        "AutoConfig": "configuration_glm.GLMConfig",
        "AutoModel": "modeling_glm.GLMModel",
    },
    "num_layers": 3,
    "vocab_size": 91,
    "hidden_size": 30,
    "num_attention_heads": 5,
    "max_sequence_length": 20,
    "embedding_dropout_prob": 0.1,
    "attention_dropout_prob": 0.1,
    "output_dropout_prob": 0.1,
    "layernorm_epsilon": 1e-5,
    "checkpoint_activations": False,
    "checkpoint_num_layers": 1,
    "parallel_output": True,
    "relative_encoding": False,
    "block_position_encoding": True,
    "output_predict": True,
    "spell_length": None,
    "spell_func": "lstm",
    "attention_scale": 8.0,
    "initializer_range": 0.02,
    "pool_token": "cls",
    "torch_dtype": "float32",
}


def config(**changes: Any) -> dict[str, Any]:
    return {**CONFIG, **changes}


def weights(settings: dict[str, Any]) -> dict[str, Tensor]:
    """Random weights under their published names, without the prefix `glm.`."""
    width, rows = settings["hidden_size"], settings["max_sequence_length"] + 1
    shapes: dict[str, tuple[int, ...]] = {
        "word_embeddings.weight": (settings["vocab_size"], width),
        "transformer.position_embeddings.weight": (rows, width),
        "transformer.block_position_embeddings.weight": (rows, width),
        "transformer.final_layernorm.weight": (width,),
        "transformer.final_layernorm.bias": (width,),
    }
    for layer in range(settings["num_layers"]):
        stem = f"transformer.layers.{layer}."
        for name, out, into in (
            ("attention.query_key_value", 3 * width, width),
            ("attention.dense", width, width),
            ("mlp.dense_h_to_4h", 4 * width, width),
            ("mlp.dense_4h_to_h", width, 4 * width),
        ):
            shapes |= {f"{stem}{name}.weight": (out, into), f"{stem}{name}.bias": (out,)}
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes |= {f"{stem}{name}.{kind}": (width,) for kind in ("weight", "bias")}
    generator = torch.Generator().manual_seed(11)
    made = {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}
    return {k: v + 1 if k.endswith("layernorm.weight") else v for k, v in made.items()}


def save(folder: Path, stem: str = "glm.", form: str = "safetensors", **changes: Any) -> Path:
    """A folder as published; `form` is "safetensors" or "bin". Its own code must never run."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = config(**changes)
    (folder / "config.json").write_text(json.dumps(settings))
    for name in ("configuration_glm.py", "modeling_glm.py"):
        (folder / name).write_text("raise SystemExit('the code of the folder was run')\n")
    tensors = {stem + name: value for name, value in weights(settings).items()}
    if form == "safetensors":
        save_file(tensors, folder / "model.safetensors")
    else:
        torch.save(tensors, folder / "pytorch_model.bin")
    return folder


def norm(states: Tensor, table: dict[str, Tensor], name: str) -> Tensor:
    centred = states - states.mean(-1, keepdim=True)
    spread = centred.square().mean(-1, keepdim=True)
    return centred / (spread + 1e-5).sqrt() * table[f"{name}.weight"] + table[f"{name}.bias"]


def linear(states: Tensor, table: dict[str, Tensor], name: str) -> Tensor:
    return states @ table[f"{name}.weight"].T + table[f"{name}.bias"]


def gelu(states: Tensor, form: str) -> Tensor:
    if form == "gelu":
        return states * 0.5 * (1 + torch.erf(states / math.sqrt(2)))
    inner = math.sqrt(2 / math.pi) * (states + 0.044715 * states**3)
    return 0.5 * states * (1 + torch.tanh(inner))


def attention(states: Tensor, mask: Tensor, settings: dict[str, Any], table: Any) -> Tensor:
    """`mask` is [batch or 1, 1, n or 1, n], 1 where visible."""
    batch, length, width = states.shape
    heads, scale = settings["num_attention_heads"], settings["attention_scale"]
    mixed = linear(states, table, "query_key_value")
    query, key, value = (
        mixed[..., i * width : (i + 1) * width].view(batch, length, heads, -1).permute(0, 2, 1, 3)
        for i in range(3)
    )
    mask = mask.to(states.dtype)
    divided = query / scale if scale > 1 else query
    scores = divided @ (key.transpose(-1, -2) / math.sqrt(width // heads)) * mask
    if scale > 1:
        scores = (scores - scores.max(dim=-1, keepdim=True)[0]) * scale
    scores = scores + -65504.0 * (1.0 - mask)
    powers = (scores - scores.max(dim=-1, keepdim=True)[0]).exp()
    mixed = powers / powers.sum(-1, keepdim=True) @ value
    return linear(mixed.permute(0, 2, 1, 3).reshape(batch, length, width), table, "dense")


def forward(
    settings: dict[str, Any], input_ids: Tensor, position_ids: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Last hidden state and logits, in fp64; positions [batch, 2, n], mask as in `attention`."""
    table = {name: value.double() for name, value in weights(settings).items()}
    states = table["word_embeddings.weight"][input_ids]
    states = states + table["transformer.position_embeddings.weight"][position_ids[:, 0]]
    states = states + table["transformer.block_position_embeddings.weight"][position_ids[:, 1]]
    for layer in range(settings["num_layers"]):
        stem = f"transformer.layers.{layer}."
        own = {k.removeprefix(stem): v for k, v in table.items() if k.startswith(stem)}
        attended = {k.removeprefix("attention."): v for k, v in own.items()}
        normed = norm(states, own, "input_layernorm")
        states = states + attention(normed, mask, settings, attended)
        inner = linear(norm(states, own, "post_attention_layernorm"), own, "mlp.dense_h_to_4h")
        active = gelu(inner, settings.get("hidden_act", "gelu"))
        states = states + linear(active, own, "mlp.dense_4h_to_h")
    hidden = norm(states, table, "transformer.final_layernorm")
    return hidden, hidden @ table["word_embeddings.weight"].T
