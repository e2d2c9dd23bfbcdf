"""Folders that travel with the package and hold no code: recipes, launch scripts, documents.

They stand beside the package in a checkout, and inside it, below `shipped/`, where a wheel was
installed: there no folder can hide a module or a function of the package.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_folder(name: str) -> Path:
    """The folder `name`: "recipes", "launch", "docs" or "ds_configs"."""
    installed = _PACKAGE / "shipped" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name
