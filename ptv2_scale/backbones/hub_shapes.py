"""Shapes of models on the hub, by their names there: a run is planned before they are downloaded.

The settings are those of the published config.json files, as far as they decide on shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ptv2_scale.backbones.naming import PRESETS


@dataclass(frozen=True)
class HubShape:
    """What a model's shape follows from.

    Attributes:
        model_type: transformers' name of the architecture, or `glm_classic`.
        settings: of its configuration; the others are the architecture's defaults.
        tensors: names in its weight files on which the built model depends.
    """

    model_type: str
    settings: Mapping[str, Any]
    tensors: tuple[str, ...] = ()


_POOLER = ("pooler.dense.weight",)
_PROJECTION, _UNTIED = ("lm_head.weight",), {"tie_word_embeddings": False}
_LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
_ROBERTA_LARGE = {
    **_LARGE,
    "vocab_size": 50265,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}
_DEBERTA_XLARGE = {
    **_LARGE,
    "vocab_size": 50265,
    "num_hidden_layers": 48,
    "type_vocab_size": 0,
    "relative_attention": True,
    "position_biased_input": False,
    "pos_att_type": ["c2p", "p2c"],
}
_LLAMA_8B = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
}
_QWEN3_8B = {
    "vocab_size": 151936,
    "hidden_size": 4096,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 12288,
}
_GLM4_9B = {
    "vocab_size": 151552,
    "hidden_size": 4096,
    "num_hidden_layers": 40,
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "intermediate_size": 13696,
    "attention_bias": True,
}


def _t5(width: int, heads: int, head_width: int, inner: int) -> Mapping[str, Any]:
    return {
        "vocab_size": 32128,
        "d_model": width,
        "num_heads": heads,
        "d_kv": head_width,
        "d_ff": inner,
        "num_layers": 24,
        "decoder_start_token_id": 0,
    }


HUB_SHAPES: Mapping[str, HubShape] = {
    "google-bert/bert-large-cased": HubShape("bert", {**_LARGE, "vocab_size": 28996}, _POOLER),
    "google-bert/bert-large-uncased": HubShape("bert", {**_LARGE, "vocab_size": 30522}, _POOLER),
    "FacebookAI/roberta-large": HubShape("roberta", _ROBERTA_LARGE, _POOLER),
    "microsoft/deberta-xlarge": HubShape("deberta", _DEBERTA_XLARGE),
    "google/t5-v1_1-xl": HubShape(
        "t5", {**_t5(2048, 32, 64, 5120), "feed_forward_proj": "gated-gelu"}
    ),
    "google-t5/t5-11b": HubShape("t5", _t5(1024, 128, 128, 65536)),
    "THUDM/glm-2b": HubShape("glm_classic", PRESETS["glm-2b"]),
    "THUDM/glm-10b": HubShape("glm_classic", PRESETS["glm-10b"]),
    "meta-llama/Llama-3.1-8B": HubShape("llama", {**_LLAMA_8B, **_UNTIED}, _PROJECTION),
    "Qwen/Qwen3-8B": HubShape("qwen3", {**_QWEN3_8B, **_UNTIED}, _PROJECTION),
    "THUDM/glm-4-9b-hf": HubShape("glm", {**_GLM4_9B, **_UNTIED}, _PROJECTION),
}
