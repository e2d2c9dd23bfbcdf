"""Values of a recipe by their whole keys, as they are written on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def dotted(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Sections of sections as one mapping: {"train": {"lr": 0.1}} as {"train.lr": 0.1}."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        found |= dotted(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found
