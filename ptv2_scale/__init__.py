"""P-Tuning v2 at scale: trained key/value prefixes in every layer of a frozen, sharded model.

The names below load PyTorch and transformers only when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptv2_scale.backbones.load import load_backbone
    from ptv2_scale.inference.load import load_prompted
    from ptv2_scale.launchers.api import launch
    from ptv2_scale.launchers.options import LaunchOptions
    from ptv2_scale.launchers.result import LaunchResult

__version__ = "0.1.0"
__all__ = [
    "LaunchOptions",
    "LaunchResult",
    "__version__",
    "launch",
    "load_backbone",
    "load_prompted",
]


def __getattr__(name: str) -> object:
    if name == "load_backbone":
        from ptv2_scale.backbones.load import load_backbone

        return load_backbone
    if name == "load_prompted":
        from ptv2_scale.inference.load import load_prompted

        return load_prompted
    if name == "launch":
        from ptv2_scale.launchers.api import launch

        return launch
    if name == "LaunchOptions":
        from ptv2_scale.launchers.options import LaunchOptions

        return LaunchOptions
    if name == "LaunchResult":
        from ptv2_scale.launchers.result import LaunchResult

        return LaunchResult
    raise AttributeError(f"module 'ptv2_scale' has no attribute '{name}'")
