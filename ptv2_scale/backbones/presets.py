"""Known shapes as backbones without weights, for `inspect`, planning and benchmarks.

They are the presets', which are no models, and those of some models on the hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig

import ptv2_scale.backbones.glm_classic  # noqa: F401 - transformers' AutoConfig then knows it
from ptv2_scale.backbones.families import family_of
from ptv2_scale.backbones.hub_shapes import HUB_SHAPES, HubShape
from ptv2_scale.backbones.load import BackboneFiles
from ptv2_scale.backbones.naming import NOTES, PRESETS


@dataclass(frozen=True)
class NoWeights:
    """The weights of a shape: there are none.

    Attributes:
        tensors: names of which a published model's files are known to have them.
        paths: of files; none.
    """

    tensors: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()

    def names(self) -> list[str]:
        """Those on which the built model depends."""
        return list(self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Never found."""
        raise KeyError(name)

    def dtype(self, name: str) -> torch.dtype:
        """Never found."""
        raise KeyError(name)

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Never found."""
        raise KeyError(name)

    def read_into(self, name: str, start: int, target: Tensor) -> None:
        """Never found."""
        raise KeyError(name)


def has_known_shape(name: str) -> bool:
    """Whether `name` is a preset's or a known model's of the hub, and no folder is called so."""
    return (name in PRESETS or name in HUB_SHAPES) and not Path(name).is_dir()


def shape_notes(name: str) -> list[str]:
    """Lines about where a known shape's sizes are from; none where `name` is another backbone's."""
    if not has_known_shape(name):
        return []
    if name in HUB_SHAPES:
        return ["the published shape: sizes alone, no file of the model was opened"]
    return ["a preset: sizes alone, no weights", *([NOTES[name]] if name in NOTES else [])]


def open_shape(name: str) -> BackboneFiles:
    """A known shape, for `build_empty`; `name` is one of `PRESETS` or `HUB_SHAPES`."""
    shape = HUB_SHAPES.get(name) or HubShape("glm_classic", PRESETS[name])
    config = AutoConfig.for_model(shape.model_type, **shape.settings)
    return BackboneFiles(Path(name), config, family_of(config, name), NoWeights(shape.tensors))
