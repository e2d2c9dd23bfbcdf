"""Which layers of a recipe's backbone are computed again, and which are gathered whole.

Activation checkpointing after Chen et al. (2016). The layers are the first ones that a gradient
passes: when their activations are made anew, the backward passes of all later ones are over, and
what those have kept is given back.

ZeRO-3 gathers module by module, and its bookkeeping of each costs time on the CPU that a GPU may
have to wait for. The weights of a frozen layer are needed one right after the other, so they are
gathered as one.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ptv2_scale.backbones.attention import checkpointable_layers, enable_checkpointing
from ptv2_scale.data.collate import Padding
from ptv2_scale.estimate.kernels import DeviceKernels, KnownValues
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import Setup, build_model


def apply_checkpointing(setup: Setup, model: PromptedModel) -> None:
    """Turn activation checkpointing on as a recipe says, in its model, with values or without.

    Where it says `auto`, no run has chosen yet, and no layer is checkpointed.
    """
    layers = setup.config.train.gradient_checkpointing
    if isinstance(layers, str) or not (layers and setup.method.trains_through_backbone):
        return
    chosen = None if layers is True else layers_with_gradient(setup)[:layers]
    enable_checkpointing(model.backbone, chosen)


def layers_with_gradient(setup: Setup) -> list[int]:
    """Places, among `checkpointable_layers`, of the layers that a recipe's gradient passes.

    Layers below the lowest one that the method enters are not among them.

    Raises:
        UserError: see `build_model`.
    """
    model = on_meta(build_model(setup)).train()
    found: set[int] = set()

    def note(place: int, layer: nn.Module, given: Any, made: Any) -> None:
        if any(isinstance(one, Tensor) and one.requires_grad for one in tree_leaves(made)):
            found.add(place)

    for place, layer in enumerate(checkpointable_layers(model.backbone)):
        layer.register_forward_hook(partial(note, place))
    example = setup.task.longest(setup.config.task.longest)[0]
    values = KnownValues()
    batch = setup.task.collate([example], Padding(0)).moved(values.on_meta)
    with DeviceKernels("cuda", values):
        model(**batch.arguments)
    return sorted(found)


def frozen_layers(model: PromptedModel) -> list[nn.Module]:
    """Layers of a model's backbone that have no trained parameter, in the order of running."""
    return [
        layer
        for layer in checkpointable_layers(model.backbone)
        if not any(one.requires_grad for one in layer.parameters())
    ]


def on_meta(model: PromptedModel) -> PromptedModel:
    """A model whose parameters are on the meta device, with its buffers there too."""
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = buffer.to("meta")
    return model
