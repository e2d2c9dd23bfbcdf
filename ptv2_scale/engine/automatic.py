"""Keys of a recipe that say `auto`: chosen once, alike on all ranks, and kept by the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptv2_scale.backbones.dtypes import suitable_dtype
from ptv2_scale.checkpoint.resume import Resume
from ptv2_scale.checkpoint.run_directory import stored_recipe
from ptv2_scale.checkpoint.store import read_state
from ptv2_scale.config import RunConfig, override
from ptv2_scale.config.dotted import dotted
from ptv2_scale.distributed.leaders import on_first_rank
from ptv2_scale.distributed.ranks import RankContext, gather
from ptv2_scale.engine.memory_check import RankMemory
from ptv2_scale.estimate.checkpointing import fewest_layers
from ptv2_scale.model.setup import open_shapes
from ptv2_scale.runtime.errors import UserError

AUTO = "auto"
# What all ranks choose together; every rank calls it, with all earlier keys chosen.
Choose = Callable[[RunConfig, RankContext], str]


@dataclass(frozen=True)
class Resolved:
    """A recipe without `auto`.

    Attributes:
        config: the recipe.
        chosen: what was chosen now, as key=value; what the run has stored is not among it.
    """

    config: RunConfig
    chosen: tuple[str, ...] = ()


def resolve(config: RunConfig, run: Path, resume: Resume, ranks: RankContext) -> Resolved:
    """Give every key that says `auto` its value; every rank calls it, before it opens anything.

    A run that goes on takes what it has stored: another value might be another run, or other bits.

    Args:
        config: the recipe.
        run: the run directory.
        resume: where the run begins.
        ranks: where this process stands.

    Raises:
        UserError: on every rank alike; nothing can be chosen.
    """
    found = gather((_automatic(config), _stored(run, resume)), ranks)
    # A rank whose recipe says otherwise chooses too: the difference is reported later, by name.
    wanted = {key for keys, _ in found for key in keys}
    stored = {key: value for _, one in reversed(found) for key, value in one.items()}
    chosen = []
    for key in filter(wanted.__contains__, _CHOICES):
        word = f"{key}={stored[key] if key in stored else _CHOICES[key](config, ranks)}"
        if key in _automatic(config):
            config = override(config, [word])
            chosen += [] if key in stored else [word]
    return Resolved(config, tuple(chosen))


def _automatic(config: RunConfig) -> list[str]:
    values = dotted(config.model_dump(mode="json"))
    return [key for key in _CHOICES if values.get(key) == AUTO]


def _stored(run: Path, resume: Resume) -> dict[str, Any]:
    """Values of keys that can be chosen, as this rank's host has them of the run that goes on."""
    recipe: Mapping[str, Any] = {}
    if resume == "auto":
        recipe = stored_recipe(run) or {}
    elif resume != "never":
        with suppress(UserError):  # what is wrong with a checkpoint is reported where it is read
            recipe = read_state(Path(resume)).recipe
    values = dotted(recipe)
    return {key: values[key] for key in _CHOICES if values.get(key, AUTO) != AUTO}


def _dtype(config: RunConfig, ranks: RankContext) -> str:
    """bf16 where every rank has units for it: the slowest one would hold up all others."""
    suitable = set(gather(suitable_dtype(ranks.device), ranks))
    return "bf16" if suitable == {"bf16"} else "fp32"


def _checkpointing(config: RunConfig, ranks: RankContext) -> str:
    """As few layers as the rank with the least memory needs."""
    memory = RankMemory.of(ranks)

    def choose() -> bool | int:
        return fewest_layers(open_shapes(config), memory.cluster, memory.device, memory.limit)

    return json.dumps(on_first_rank(ranks, choose))


# In this order: later ones may depend on what earlier ones are.
_CHOICES: Mapping[str, Choose] = {
    "backbone.dtype": _dtype,
    "train.gradient_checkpointing": _checkpointing,
}
