"""The published sizes of classic GLM, to be built from a name without weights: for planning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptv2_scale.backbones.glm_classic.configuration import ClassicGlmConfig


def _sizes(
    layers: int, width: int, heads: int, positions: int, vocabulary: int
) -> Mapping[str, int]:
    return {
        "num_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "max_sequence_length": positions,
        "vocab_size": vocabulary,
    }


PRESETS: Mapping[str, Mapping[str, int]] = {
    "glm-base": _sizes(12, 768, 12, 512, 30592),
    "glm-large": _sizes(24, 1024, 16, 512, 30592),
    "glm-large-chinese": _sizes(24, 1024, 16, 1024, 50048),
    "glm-410m": _sizes(30, 1024, 16, 512, 30592),
    "glm-515m": _sizes(30, 1152, 18, 512, 30592),
    "glm-roberta-large": _sizes(24, 1024, 16, 512, 50304),
    "glm-2b": _sizes(36, 2048, 32, 1024, 50304),
    "glm-10b": _sizes(48, 4096, 64, 1024, 50304),
    "glm-10b-chinese": _sizes(48, 4096, 64, 1024, 50048),
    "glm-130b": _sizes(70, 12288, 96, 2048, 150528),
}
# What `inspect` says beside a preset's numbers.
NOTES: Mapping[str, str] = {
    "glm-130b": "GLM-130B is another architecture (rotary positions, gated MLP, post-LN) and cannot"
    " be loaded. Its shape stands here on classic GLM's layers, which hold nearly as much: good for"
    " planning, not an exact count.",
}


def preset_config(name: str, **changes: Any) -> ClassicGlmConfig:
    """The configuration of a preset.

    Args:
        name: one of `PRESETS`.
        **changes: keys of the configuration that are to be otherwise.
    """
    return ClassicGlmConfig(**{**PRESETS[name], **changes})
