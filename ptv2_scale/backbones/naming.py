"""What a backbone's name stands for: a folder, the hub's, or a preset's; without PyTorch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ptv2_scale.demo import BACKBONES as EMBEDDED
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.paths import expand_path


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


# The published sizes of classic GLM, to be built without weights: for planning.
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


def named_folder(name: str) -> Path | None:
    """The folder that a backbone's or tokenizer's name stands for; None: it is a name on the hub.

    "demo", "demo-12k" and so on are the embedded backbones, unless there is a folder of that name.
    Whether the folder is there is not looked at.

    Raises:
        UserError: the name is a preset's, or begins with no user's home.
    """
    try:
        path = expand_path(name)
    except ValueError as error:
        raise UserError(f"backbone.name: found '{name}', but {error}.") from None
    if os.path.isdir(path):
        return Path(path)
    if name in EMBEDDED:
        return EMBEDDED[name]
    if name in PRESETS:
        raise UserError(
            f"backbone.name: '{name}' is a preset: a shape without weights and tokenizer, which"
            " only `ptv2-scale inspect` takes. Give the folder of the published model."
        )
    return Path(path) if path.count("/") > 1 or path.startswith((".", "/")) else None
