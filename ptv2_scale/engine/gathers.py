"""What ZeRO-3 gathers of a backbone that is frozen, and when.

DeepSpeed takes any parameter for one that may be trained alone: it gathers module by module, and
after each optimizer step it gathers anew all small parameters that every rank keeps whole.
"""

from __future__ import annotations

from typing import Any

from deepspeed.utils import set_z3_leaf_module

from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.estimate.layers import frozen_layers
from ptv2_scale.estimate.zero import Cluster, ZeroSettings
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import Setup


def gather_layers_whole(setup: Setup, model: PromptedModel, ranks: RankContext) -> None:
    """Have a frozen layer's weights gathered as one, before DeepSpeed puts its hooks on a model.

    Args:
        setup: the recipe, whose stage is 3.
        model: its parameters are DeepSpeed's.
        ranks: where this process stands.
    """
    zero = ZeroSettings.of(setup.config, Cluster.of(ranks))
    for layer in frozen_layers(model):
        parameters: list[Any] = list(layer.parameters())
        if zero.gathers_whole(sum(one.ds_numel for one in parameters)):
            set_z3_leaf_module(layer, True)


def gather_trained_after_steps(engine: Any) -> None:
    """Let an optimizer step gather anew what it has changed alone.

    Args:
        engine: DeepSpeed's, of stage 3, with an optimizer.
    """
    optimizer = engine.optimizer
    optimizer.persistent_parameters = [
        one for one in optimizer.persistent_parameters if one.requires_grad
    ]
