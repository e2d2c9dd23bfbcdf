"""Trained terms added to the outputs of a backbone's layers, bound for one forward pass.

A layer gets one forward hook, which adds nothing where nothing is bound, so that the backbone keeps
its modules and the names of its parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ptv2_scale.backbones.binding import bound_value

_HOOKED = "ptv2_takes_deltas"  # of a layer


@dataclass(frozen=True)
class BoundDeltas:
    """Terms for the layers of one forward pass.

    Attributes:
        deltas: layer -> module from the layer's input to what is added to its output.
        outputs: layer -> what was added to it; filled only where a dict is given.
        offset: added to every term, to see whether it has an effect.
    """

    deltas: Mapping[nn.Module, nn.Module]
    outputs: dict[nn.Module, list[Tensor]] | None = None
    offset: float = 0.0


def take_deltas(layers: Iterable[nn.Module]) -> None:
    """Let layers add what is bound for them; a second call changes nothing."""
    for layer in layers:
        if not hasattr(layer, _HOOKED):
            layer.register_forward_hook(_add_delta)
            setattr(layer, _HOOKED, True)


def _add_delta(layer: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor | None:
    bound = bound_value()
    if not isinstance(bound, BoundDeltas) or layer not in bound.deltas:
        return None
    delta: Tensor = bound.deltas[layer](given[0])
    if bound.outputs is not None:
        bound.outputs.setdefault(layer, []).append(delta)
    return output + delta + bound.offset if bound.offset else output + delta
