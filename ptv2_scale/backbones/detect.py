"""A folder's configuration, and which of two architectures a `model_type: glm` means.

Classic GLM was published with code of its own under the `model_type` that transformers gives GLM-4,
so those folders are told apart by the keys of config.json and by the names of the weights. Code
that a classic folder brings along is never run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig

from ptv2_scale.backbones.families import unknown_architecture
from ptv2_scale.backbones.family import Config
from ptv2_scale.backbones.glm_classic import ClassicGlmConfig
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import read_json


@dataclass(frozen=True)
class _Marks:
    """What one of the two architectures is known by: keys, and the end of a weight's name."""

    name: str
    keys: tuple[str, ...]
    weight: str

    def __str__(self) -> str:
        return f"{self.name} by the keys {', '.join(self.keys)} and a weight '{self.weight}'"


_CLASSIC = _Marks(
    "classic GLM",
    ("num_layers", "max_sequence_length"),
    "transformer.layers.0.attention.query_key_value.weight",
)
_GLM4 = _Marks(
    "GLM-4", ("num_hidden_layers", "num_key_value_heads"), "layers.0.self_attn.q_proj.weight"
)


def detect_config(
    folder: Path, weight_names: Callable[[], list[str]], trust_remote_code: bool
) -> Config:
    """The configuration of a backbone's folder, of the architecture that the folder is of.

    Args:
        folder: has a config.json.
        weight_names: names of its weights, asked for where `model_type` is ambiguous.
        trust_remote_code: allow the folder's own code; a classic GLM's is not run even then.

    Raises:
        UserError: the configuration is broken or of an unknown architecture; says what was found.
    """
    path = folder / "config.json"
    try:
        content = read_json(path)
        named = content.get("model_type")
        if named == "glm" and _is_classic(path, content, weight_names()):
            return _classic_config(folder, content)
        if named and named not in CONFIG_MAPPING and not trust_remote_code:
            raise unknown_architecture(str(named), str(path))
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        return _with_decoder_start(folder, config)
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: cannot be understood: {reason}") from None


def _with_decoder_start(folder: Path, config: Config) -> Config:
    """The start of a decoder from generation_config.json, where newer folders keep it."""
    path = folder / "generation_config.json"
    if getattr(config, "decoder_start_token_id", None) is None and path.is_file():
        start = read_json(path).get("decoder_start_token_id")
        if isinstance(start, int):
            config.decoder_start_token_id = start
    return config


def _is_classic(path: Path, content: dict[str, Any], names: list[str]) -> bool:
    fitting = [
        signs
        for signs, other in ((_CLASSIC, _GLM4), (_GLM4, _CLASSIC))
        if content.keys() >= set(signs.keys)
        and not content.keys() >= set(other.keys)
        and any(name.endswith(signs.weight) for name in names)
    ]
    if not fitting:
        raise _neither(path, content, names)
    return fitting[0] is _CLASSIC


def _classic_config(folder: Path, content: dict[str, Any]) -> ClassicGlmConfig:
    kept = {
        key: value
        for key, value in content.items()
        if key != "model_type" and not key.startswith("_")
    }
    return ClassicGlmConfig(**{**kept, "name_or_path": str(folder)})


def _neither(path: Path, content: dict[str, Any], names: list[str]) -> UserError:
    known = [key for key in (*_CLASSIC.keys, *_GLM4.keys) if key in content]
    marked = [name for name in names if name.endswith((_CLASSIC.weight, _GLM4.weight))]
    return UserError(
        f"{path}: model_type 'glm' is the name of two architectures, and this folder is neither."
        f" Looked for {_CLASSIC}; or for {_GLM4}; without the other's keys. Found: the keys"
        f" {', '.join(known) or 'none of these'};"
        f" {len(names)} weights, such as {', '.join((marked or sorted(names))[:2]) or 'none'}."
        " Download config.json and the weights again, from the same model."
    )
