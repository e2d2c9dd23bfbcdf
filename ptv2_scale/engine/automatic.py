"""Keys of a recipe that say `auto`: chosen once, alike on all ranks, and kept by the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ptv2_scale.backbones.attention_routes import AUTOMATIC
from ptv2_scale.backbones.dtypes import suitable_dtype
from ptv2_scale.checkpoint.resume import Resume
from ptv2_scale.checkpoint.run_directory import stored_recipe
from ptv2_scale.checkpoint.store import read_state
from ptv2_scale.config import RunConfig, override
from ptv2_scale.config.deepspeed import AUTO
from ptv2_scale.config.dotted import dotted
from ptv2_scale.data.dealing import micro_batch_sizes
from ptv2_scale.distributed.leaders import on_first_rank
from ptv2_scale.distributed.ranks import RankContext, gather
from ptv2_scale.engine.memory_check import RankMemory
from ptv2_scale.estimate.checkpointing import fewest_layers
from ptv2_scale.estimate.kernels import Device
from ptv2_scale.estimate.micro_batch import largest_micro_batch
from ptv2_scale.estimate.passes import Measure, MeasuredPasses
from ptv2_scale.estimate.sharding import least_sharding
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.model.setup import Setup, open_shapes
from ptv2_scale.runtime.errors import UserError

T = TypeVar("T")

# What all ranks choose together; every rank calls it, with all earlier keys chosen.
Choose = Callable[[RunConfig, RankContext, Measure], str]


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
    found = gather((_automatic(config), _usable(_stored(run, resume), config, ranks)), ranks)
    # A rank whose recipe says otherwise chooses too: the difference is reported later, by name.
    wanted = {key for keys, _ in found for key in keys}
    stored = {key: value for _, one in reversed(found) for key, value in one.items()}
    chosen, measure = [], MeasuredPasses()
    for key in filter(wanted.__contains__, _CHOICES):
        if key in stored:
            word = f"{key}={json.dumps(stored[key])}"
        else:
            word = f"{key}={_CHOICES[key](config, ranks, measure)}"
        if key in _automatic(config):
            config = override(config, [word])
            chosen += [] if key in stored else [word]
    return Resolved(config, tuple(chosen))


def resolve_for_serving(config: RunConfig, ranks: RankContext) -> RunConfig:
    """A recipe that begins nothing, with what evaluation needs written out; every rank calls it.

    Raises:
        UserError: see `resolve`.
    """
    automatic, measure = _automatic(config), MeasuredPasses()
    if "train.micro_batch" in automatic:  # no training step is made
        config = override(config, ["train.micro_batch=1"])
    for key in filter(automatic.__contains__, ("deepspeed", "evaluate.micro_batch")):
        config = override(config, [f"{key}={_CHOICES[key](config, ranks, measure)}"])
    return config


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


def _usable(stored: dict[str, Any], config: RunConfig, ranks: RankContext) -> dict[str, Any]:
    """What of the stored values these ranks can work with."""
    train = config.train
    sizes = micro_batch_sizes(train.global_batch, ranks.world, train.micro_batch_by)
    return {
        key: value for key, value in stored.items() if key != "train.micro_batch" or value in sizes
    }


def _dtype(config: RunConfig, ranks: RankContext, _: Measure) -> str:
    """bf16 where every rank has units for it: the slowest one would hold up all others."""
    suitable = set(gather(suitable_dtype(ranks.device), ranks))
    return "bf16" if suitable == {"bf16"} else "fp32"


def _attention(config: RunConfig, ranks: RankContext, _: Measure) -> str:
    """What serves every backbone, and has been shown right on every kind of device."""
    return AUTOMATIC


def _sharding(config: RunConfig, ranks: RankContext, measure: Measure) -> str:
    """As little as the rank with the least memory needs."""
    memory = RankMemory.of(ranks)
    # hpZ needs as many ranks on every host; memory follows from their number alone.
    alike = len(set(gather(ranks.per_host, ranks))) == 1
    if not alike:
        memory = replace(memory, cluster=Cluster(ranks.world, 1))
    return _chosen(least_sharding, config, ranks, memory, measure)


def _training_batch(config: RunConfig, ranks: RankContext, measure: Measure) -> str:
    """As many examples as the rank with the least memory has room for."""
    choose = partial(largest_micro_batch, "train")
    return str(_chosen(choose, config, ranks, RankMemory.of(ranks), measure))


def _evaluation_batch(config: RunConfig, ranks: RankContext, measure: Measure) -> str:
    """The same in evaluation."""
    choose = partial(largest_micro_batch, "evaluate")
    return str(_chosen(choose, config, ranks, RankMemory.of(ranks), measure))


def _checkpointing(config: RunConfig, ranks: RankContext, measure: Measure) -> str:
    """As few layers as the rank with the least memory needs."""
    return json.dumps(_chosen(fewest_layers, config, ranks, RankMemory.of(ranks), measure))


def _chosen(
    choose: Callable[[Setup, Cluster, Device, int, Measure], T],
    config: RunConfig,
    ranks: RankContext,
    memory: RankMemory,
    measure: Measure,
) -> T:
    """What the first rank chooses by the memory of all."""

    def action() -> T:
        return choose(open_shapes(config), memory.cluster, memory.device, memory.limit, measure)

    return on_first_rank(ranks, action)


# In this order: later ones may depend on what earlier ones are.
_CHOICES: Mapping[str, Choose] = {
    "backbone.dtype": _dtype,
    "backbone.attention": _attention,
    "deepspeed": _sharding,
    "train.micro_batch": _training_batch,
    "evaluate.micro_batch": _evaluation_batch,
    "train.gradient_checkpointing": _checkpointing,
}
