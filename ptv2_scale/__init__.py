"""P-Tuning v2 at scale: trained key/value prefixes in every layer of a frozen, sharded model.

The names below load PyTorch, transformers and DeepSpeed only when they are first used, and only
what they need of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptv2_scale.backbones.load import load_backbone
    from ptv2_scale.inference.load import load_prompted
    from ptv2_scale.inference.predictor import Predictor

__version__ = "0.1.0"
__all__ = ["Predictor", "__version__", "load_backbone", "load_prompted"]

_HOMES = {
    "Predictor": "ptv2_scale.inference.predictor",
    "load_backbone": "ptv2_scale.backbones.load",
    "load_prompted": "ptv2_scale.inference.load",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'ptv2_scale' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
