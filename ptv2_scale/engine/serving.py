"""Exports on a backbone that DeepSpeed shards over the ranks of a command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import deepspeed

from ptv2_scale.backbones.filling import Fill
from ptv2_scale.config import RunConfig
from ptv2_scale.distributed.agreement import check_agreement
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine.agreement import serving_facts
from ptv2_scale.engine.automatic import resolve_for_serving
from ptv2_scale.engine.build import deepspeed_config
from ptv2_scale.engine.loading import load_weights
from ptv2_scale.inference.exported import Export
from ptv2_scale.inference.predictor import Predictor
from ptv2_scale.inference.shared import SharedBackbone
from ptv2_scale.model.prompted import PromptedModel


def sharded_predictor(exports: Sequence[Export], ranks: RankContext) -> Predictor:
    """A predictor whose backbone is sharded as the first export's recipe says.

    Raises:
        UserError: two exports need different backbones, the recipe does not fit these ranks, or
            ranks have read different things.
    """
    first = exports[0].setup
    first = replace(first, config=resolve_for_serving(first.config, ranks))
    exports = [replace(exports[0], setup=first), *exports[1:]]
    check_agreement(serving_facts(exports), ranks)

    def load(shared: SharedBackbone, fill: Fill) -> Callable[..., Any]:
        setup = replace(first, config=_for_ranks(first.config, ranks))
        model = shared.models[0]
        assert isinstance(model, PromptedModel)
        settings = deepspeed_config(setup, model, ranks)
        load_weights(shared, fill, settings, ranks)
        run: Callable[..., Any] = _start(shared, settings, ranks)
        return run

    return Predictor(exports, ranks, load)


def _for_ranks(config: RunConfig, ranks: RankContext) -> RunConfig:
    """The recipe with a batch that any number of ranks divides; serving makes no training steps."""
    batch = config.train.examples * ranks.world
    train = config.train.model_copy(update={"global_batch": batch})
    return config.model_copy(update={"train": train})


def _start(shared: SharedBackbone, settings: dict[str, Any], ranks: RankContext) -> Any:
    """DeepSpeed's engine where the backbone is sharded; it has none below stage 3 to serve with."""
    if settings.get("zero_optimization", {}).get("stage", 0) < 3:
        return shared.to(ranks.device)
    engine, *_ = deepspeed.initialize(model=shared, config=settings)
    engine.module.eval()
    return engine
