"""Presets as backbones: shapes without weights, for `inspect`, planning and benchmarks."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ptv2_scale.backbones.families import family_of
from ptv2_scale.backbones.glm_classic import ClassicGlmConfig
from ptv2_scale.backbones.load import BackboneFiles
from ptv2_scale.backbones.naming import NOTES, PRESETS


class NoWeights:
    """The weights of a preset: there are none."""

    paths: tuple[Path, ...] = ()

    def names(self) -> list[str]:
        """None."""
        return []

    def shape(self, name: str) -> tuple[int, ...]:
        """Never found."""
        raise KeyError(name)

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Never found."""
        raise KeyError(name)


def is_preset(name: str) -> bool:
    """Whether `name` is a preset's, and there is no folder called so."""
    return name in PRESETS and not Path(name).is_dir()


def preset_notes(name: str) -> list[str]:
    """Lines about a preset's sizes; none where `name` is no preset."""
    if not is_preset(name):
        return []
    return ["a preset: sizes alone, no weights", *([NOTES[name]] if name in NOTES else [])]


def open_preset(name: str) -> BackboneFiles:
    """A preset's shape, for `build_empty`; `name` is one of `PRESETS`."""
    config = ClassicGlmConfig(**PRESETS[name])
    return BackboneFiles(Path(name), config, family_of(config, name), NoWeights())
