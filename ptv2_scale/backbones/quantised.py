"""Quantised backbones, known by what lies in their folder, and refused with what to do instead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import read_json

# Written beside config.json by older AutoGPTQ, AutoAWQ and by ModelOpt.
_FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
# Ends of names under which quantised layers keep numbers and scales.
QUANTISED_TENSOR = (
    r"\.(qweight|qzeros|scales|g_idx|SCB|weight_format|absmax|nested_absmax|quant_map"
    r"|nested_quant_map|quant_state(\..*)?|weight_scale(_inv)?|weight_packed|weight_zero_point"
    r"|weight_shape|weight_blocks|weight_scales)$|\.weight\.(absmax|quant_map|quant_state\..*)$"
)


def quantised(source: str, how: str) -> UserError:
    """The error for a quantised backbone."""
    return UserError(
        f"{source}: this backbone is quantised ({how}), and only weights in fp32, bf16 or"
        " fp16 can be prompted. Name the folder of the model that it was made from; of some"
        " formats transformers makes it anew: model.dequantize().save_pretrained(FOLDER)."
    )


def refuse_quantised(folder: Path, content: Mapping[str, Any]) -> None:
    """Refuse a folder that says of itself that it is quantised.

    Args:
        folder: of a backbone.
        content: of its config.json.

    Raises:
        UserError: says by what and how.
    """
    for key in ("quantization_config", "compression_config"):
        found = content.get(key)
        if found and not _is_off(found):
            raise quantised(str(folder / "config.json"), f"{key}: {_described(found)}")
    for name in _FILES:
        if (folder / name).is_file():
            raise quantised(str(folder / name), _described(read_json(folder / name)))


def _is_off(found: Any) -> bool:
    """A bitsandbytes section whose switches are off is left of a model that was dequantised."""
    switches = ("load_in_4bit", "load_in_8bit")
    return (
        isinstance(found, Mapping)
        and found.get("quant_method", "bitsandbytes") == "bitsandbytes"
        and any(switch in found for switch in switches)
        and not any(found.get(switch) for switch in switches)
    )


def _described(found: Any) -> str:
    if not isinstance(found, Mapping):
        return f"{found!r:.40}"
    method = found.get("quant_method") or found.get("quantization", {}) or "an unknown method"
    if isinstance(method, Mapping):  # ModelOpt's
        method = method.get("quant_algo", "an unknown method")
    bits = found.get("bits") or found.get("w_bit") or found.get("num_bits")
    for switch, number in (("load_in_4bit", 4), ("load_in_8bit", 8)):
        bits = number if found.get(switch) else bits
    return f"{method}, {bits} bit" if bits else str(method)
