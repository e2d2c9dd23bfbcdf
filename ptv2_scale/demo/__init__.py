"""A self-contained demo: tiny backbones, a small task, a recipe and a sweep, all made here.

The text the backbones learned from, and the task, come from the seeded generator in
`ptv2_scale.demo.language`; the weights come from `ptv2_scale.demo.pretrain`: a T5, and four sizes
of a Llama, besides models that it makes and that are not shipped.  Nothing is downloaded and no
text of a third party is involved.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent

BACKBONE: Path = _FOLDER / "backbone"
"""Folder of the pre-trained T5, as `from_pretrained` takes it."""

LADDER: tuple[str, ...] = ("demo-12k", "demo-24k", "demo-190k", "demo-380k")
"""Names of one Llama in four sizes, by their number of parameters."""

BACKBONES: Mapping[str, Path] = {
    "demo": BACKBONE,
    **{name: _FOLDER / "ladder" / name for name in LADDER},
}
"""Folders of all that are shipped, by what recipes call them."""

RECIPE: Path = _FOLDER / "recipe.yaml"
"""The training recipe of the demo task."""

SWEEP: Path = _FOLDER / "sweep.yaml"
"""The sweep of methods over the sizes of the ladder."""

__all__ = ["BACKBONE", "BACKBONES", "LADDER", "RECIPE", "SWEEP"]
