"""From a model on the meta device to a DeepSpeed engine around it."""

from __future__ import annotations

import inspect
from typing import Any

import deepspeed
import torch
from deepspeed.runtime.zero.parameter_offload import (
    FWD_MODULE_STACK,
    PartitionedParameterCoordinator,
)

from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.config.deepspeed import complete, deepspeed_of
from ptv2_scale.data.dealing import micro_steps_of
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine.gathers import gather_layers_whole, gather_trained_after_steps
from ptv2_scale.engine.host_needs import check_host_needs
from ptv2_scale.engine.loading import load_weights
from ptv2_scale.engine.regather import gather_again_in_backward
from ptv2_scale.engine.sharding import release_shards
from ptv2_scale.estimate.layers import apply_checkpointing
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import Setup, build_model, first_values, model_filler


def deepspeed_config(setup: Setup, model: PromptedModel, ranks: RankContext) -> dict[str, Any]:
    """The DeepSpeed configuration of a recipe on these ranks.

    Raises:
        UserError: the user's own file has a key that is unknown or cannot work, or this host lacks
            what it needs.
    """
    config, train = setup.config, setup.config.train
    steps = micro_steps_of(train, ranks.world)
    if train.micro_batch_by == "tokens":
        # `Trainer` says where a step ends. Told of a single micro-step, DeepSpeed would keep no
        # gradients on the CPU from one to the next.
        steps = max(2, steps)
    settings = complete(
        deepspeed_of(config),
        world=ranks.world,
        micro_batch=train.examples,
        accumulation=steps,
        clip=train.clip,
        dtype=config.backbone.dtype,
        trained=sum(p.numel() for p in model.trained().values()),
        ranks_per_host=ranks.per_host,
    )
    check_host_needs(settings, model, ranks)
    return settings


def build_engine(setup: Setup, ranks: RankContext) -> Any:
    """DeepSpeed's engine with the backbone loaded, each rank having read its own slices.

    Raises:
        UserError: see `open_setup` and `deepspeed_config`.
    """
    model = build_model(setup)
    return start_engine(setup, model, deepspeed_config(setup, model, ranks), ranks)


def start_engine(
    setup: Setup, model: PromptedModel, settings: dict[str, Any], ranks: RankContext
) -> Any:
    """The same from a model on the meta device and its complete DeepSpeed configuration."""
    train = setup.config.train
    fill = model_filler(setup, model, NamedTensors(first_values(setup)))
    load_weights(model, fill, settings, ranks)
    sharded = settings["zero_optimization"]["stage"] == 3
    if sharded:
        gather_again_in_backward(model)
        gather_layers_whole(setup, model, ranks)
    apply_checkpointing(setup, model)
    if not model.trained():
        # DeepSpeed's stages 1 and 2 shard an optimizer's state alone.
        config = settings if sharded else {**settings, "zero_optimization": {"stage": 0}}
        engine, *_ = deepspeed.initialize(model=model, config=config)
        return engine
    optimizer = torch.optim.AdamW(
        list(model.trained().values()),
        lr=train.lr,
        betas=train.betas,
        eps=train.eps,
        weight_decay=train.weight_decay,
    )
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings)
    if sharded:
        gather_trained_after_steps(engine)
    return engine


def release_engine(engine: Any) -> None:
    """Give back an engine's memory, in a process that goes on; before its process group ends.

    DeepSpeed's `destroy` takes its hooks off the model. Two things would still keep the model for
    as long as the process lives: the stack of modules whose forward pass is under way, which the
    model never leaves, and the caches of methods, whose keys hold the engine's own objects.
    """
    engine.destroy()
    release_shards(engine.module)
    FWD_MODULE_STACK.clear()
    for method in filter(inspect.isfunction, vars(PartitionedParameterCoordinator).values()):
        # The cache is inside DeepSpeed's decorator, which keeps it as a variable of its own.
        for wrapped in inspect.getclosurevars(method).nonlocals.values():
            if hasattr(wrapped, "cache_clear"):
                wrapped.cache_clear()
