"""A self-contained demo: a tiny T5-class backbone and a small task, both made here.

The text the backbone learned from, and the task, come from the seeded generator in
`ptv2_scale.demo.language`; the weights come from `ptv2_scale.demo.pretrain`, which also makes a
causal model and a T5 for clozes.  Nothing is downloaded and no text of a third party is involved.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parent

BACKBONE: Path = _FOLDER / "backbone"
"""Folder of the pre-trained backbone, as `from_pretrained` takes it."""

RECIPE: Path = _FOLDER / "recipe.yaml"
"""The training recipe of the demo task."""

__all__ = ["BACKBONE", "RECIPE"]
