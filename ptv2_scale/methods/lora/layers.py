"""PEFT's LoRA layers, apart from the layers of the backbone that they stand beside.

After Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (ICLR 2022). PEFT puts a layer
of its own around the backbone's, which renames the backbone's parameters. Here its trained part is
bound for each forward pass instead, so that sharded loading and models on one backbone are the same
as with any other method.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ptv2_scale.backbones.binding import bind
from ptv2_scale.backbones.deltas import BoundDeltas, take_deltas
from ptv2_scale.backbones.family import Config
from ptv2_scale.config import Lora
from ptv2_scale.methods.base import Adapter, Entry
from ptv2_scale.runtime.errors import UserError, did_you_mean

_ADAPTER = "default"  # PEFT's name of an adapter
# Architectures that PEFT has no default for: queries and values, fused or not, as in its others.
_TARGETS = {
    "glm_classic": ["query_key_value"],
    **dict.fromkeys(("glm", "glm4"), ["q_proj", "v_proj"]),
    "phi3": ["qkv_proj"],
    "distilbert": ["q_lin", "v_lin"],
    "modernbert": ["Wqkv"],
}


def peft_module(name: str) -> Any:
    """A module of PEFT.

    Raises:
        UserError: PEFT is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"prompt.method: lora needs the package peft, which cannot be imported ({error})."
            " Install it: pip install 'ptv2_scale[peft]'"
        ) from None


def target_names(section: Lora, config: Config) -> list[str]:
    """Last names of the layers that get a term.

    Raises:
        UserError: there is no default for this architecture.
    """
    if section.target_modules != "default":
        return list(section.target_modules)
    constants = peft_module("peft.utils.constants")
    known = {**_TARGETS, **constants.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING}
    found = known.get(config.model_type)
    if not isinstance(found, list):
        raise UserError(
            f"prompt.target_modules: PEFT has no default for '{config.model_type}'."
            " Name the layers."
        )
    return list(found)


def target_layers(section: Lora, backbone: nn.Module, config: Config) -> dict[str, nn.Module]:
    """The layers that get a term, by their names in the backbone.

    Raises:
        UserError: a name is no layer's, or the layer is not linear.
    """
    layers: dict[str, nn.Module] = {}
    for target in target_names(section, config):
        found = {
            name: module
            for name, module in backbone.named_modules()
            if name == target or name.endswith(f".{target}")
        }
        for name, module in found.items():
            if not isinstance(module, (nn.Linear, Conv1D)):
                raise UserError(
                    f"prompt.target_modules: '{target}' names {name}, a {type(module).__name__};"
                    f" terms stand beside linear layers: {', '.join(_linear_names(backbone))}."
                )
        if not found:
            known = _linear_names(backbone)
            raise UserError(
                f"prompt.target_modules: this backbone has no layer '{target}'."
                f"{did_you_mean(target, known)} It has {', '.join(known)}."
            )
        layers.update(found)
    return layers


def _linear_names(backbone: nn.Module) -> list[str]:
    linear = (n for n, m in backbone.named_modules() if isinstance(m, (nn.Linear, Conv1D)))
    return sorted({name.rpartition(".")[2] for name in linear})


class LoraTerm(nn.Module):
    """The trained part of one of PEFT's layers: scaling * B(A(dropout(x))).

    Args:
        section: the recipe's.
        layer: of the backbone.
    """

    def __init__(self, section: Lora, layer: nn.Module) -> None:
        super().__init__()
        lora = peft_module("peft.tuners.lora")
        config = lora.LoraConfig(
            r=section.rank,
            lora_alpha=section.alpha,
            lora_dropout=section.dropout,
            use_rslora=section.rslora,
        )
        # PEFT's layer looks at the sizes of the one that it stands beside, and moves to its device.
        beside = nn.Linear(*layer_sizes(layer), bias=False, device="meta")
        made = lora.Linear(
            beside, _ADAPTER, config=config, r=section.rank, lora_alpha=section.alpha
        )
        self.lora_A, self.lora_B = made.lora_A[_ADAPTER], made.lora_B[_ADAPTER]
        self.dropout, self.scaling = made.lora_dropout[_ADAPTER], float(made.scaling[_ADAPTER])

    def forward(self, states: Tensor) -> Tensor:
        """[..., inputs of the layer] -> [..., outputs of the layer]."""
        made: Tensor = self.lora_B(self.lora_A(self.dropout(states))) * self.scaling
        return made


def layer_sizes(layer: nn.Module) -> tuple[int, int]:
    """Inputs and outputs of a linear layer."""
    if isinstance(layer, Conv1D):
        return int(layer.nx), int(layer.nf)
    assert isinstance(layer, nn.Linear)
    return layer.in_features, layer.out_features


class LoraEntry(Entry):
    """The terms for one forward pass."""

    def __init__(self, bound: BoundDeltas) -> None:
        self.bound = bound

    def bind(self) -> AbstractContextManager[None]:
        """See `Entry`."""
        return bind(self.bound)


class LoraAdapter(Adapter):
    """All terms, under the names of the layers that they stand beside.

    Args:
        section: the recipe's.
        layers: of the backbone, by their names there.
    """

    def __init__(self, section: Lora, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.terms: dict[nn.Module, nn.Module] = {}
        for name, layer in layers.items():
            self.terms[layer] = LoraTerm(section, layer)
            _place(self, name, self.terms[layer])
        take_deltas(self.terms)

    def entry(self) -> LoraEntry:
        """See `Adapter`."""
        return LoraEntry(BoundDeltas(self.terms))


def _place(root: nn.Module, path: str, module: nn.Module) -> None:
    *around, last = path.split(".")
    for name in around:
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    root.add_module(last, module)
