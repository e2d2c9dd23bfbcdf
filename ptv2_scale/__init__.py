"""P-Tuning v2 at scale: trained key/value prefixes in every layer of a frozen, sharded model.

The names below load PyTorch, transformers and DeepSpeed only when they are first used, and only
what they need of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptv2_scale.backbones.load import load_backbone
    from ptv2_scale.engine.api import train
    from ptv2_scale.export.card import Card, read_card
    from ptv2_scale.inference.load import load_prompted, load_row_encoder
    from ptv2_scale.inference.predictor import Predictor
    from ptv2_scale.launchers.api import launch
    from ptv2_scale.launchers.options import LaunchOptions
    from ptv2_scale.launchers.result import LaunchResult
    from ptv2_scale.runtime.errors import UserError
    from ptv2_scale.runtime.result import Result
    from ptv2_scale.watch.requests import Stopped

__version__ = "0.1.0"
__all__ = [
    "Card",
    "LaunchOptions",
    "LaunchResult",
    "Predictor",
    "Result",
    "Stopped",
    "UserError",
    "__version__",
    "launch",
    "load_backbone",
    "load_prompted",
    "load_row_encoder",
    "read_card",
    "train",
]

_MODULES = {
    "Card": "export.card",
    "LaunchOptions": "launchers.options",
    "LaunchResult": "launchers.result",
    "Predictor": "inference.predictor",
    "Result": "runtime.result",
    "Stopped": "watch.requests",
    "UserError": "runtime.errors",
    "launch": "launchers.api",
    "load_backbone": "backbones.load",
    "load_prompted": "inference.load",
    "load_row_encoder": "inference.load",
    "read_card": "export.card",
    "train": "engine.api",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'ptv2_scale' has no attribute '{name}'")
    return getattr(import_module(f"ptv2_scale.{_MODULES[name]}"), name)
