"""The method `lora`: a recipe's section becomes low-rank terms, and they PEFT's folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from transformers import AutoModel
from transformers.pytorch_utils import Conv1D

from ptv2_scale.backbones.empty import empty_parameters
from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.backbones.tensor_files import read_tensors
from ptv2_scale.config import Lora
from ptv2_scale.methods.base import Inputs, Method, PeftFiles, RunModel
from ptv2_scale.methods.facts import read_facts
from ptv2_scale.methods.guard import MethodUnusedError, check_effect, check_finite, weighted_sum
from ptv2_scale.methods.lora.layers import LoraAdapter, LoraEntry, peft_module, target_layers


@dataclass(frozen=True)
class LoraFacts:
    """What a reader of exported terms must know beside the recipe.

    Attributes:
        layers: names of the layers that have a term.
        stem: name of the backbone in transformers' models with a head.
        transposed: the layers hold their weights as [inputs, outputs], as GPT-2's do.
    """

    layers: list[str]
    stem: str
    transposed: bool


_FACTS = TypeAdapter(LoraFacts)


class LoraMethod(Method):
    """Low-rank terms beside some linear layers of the backbone."""

    ADAPTER: ClassVar[str] = "lora"
    TAGS: ClassVar[tuple[str, ...]] = ("lora",)
    section: Lora

    def __init__(self, section: Lora, family: Family, config: Config) -> None:
        super().__init__(section, family, config)
        peft_module("peft")

    @cached_property
    def _empty(self) -> Any:
        """The backbone without memory, for names and sizes."""
        with empty_parameters():
            return AutoModel.from_config(self.config)

    @cached_property
    def _layers(self) -> dict[str, nn.Module]:
        return target_layers(self.section, self._empty, self.config)

    def adapter(self, backbone: nn.Module) -> LoraAdapter:
        """See `Method`."""
        return LoraAdapter(self.section, target_layers(self.section, backbone, self.config))

    def first_values(self, seed: int) -> dict[str, Tensor]:
        """See `Method`: A as PyTorch's linear layers start, B zero, as in PEFT; our own draws."""
        generator, values = torch.Generator().manual_seed(seed), {}
        with empty_parameters():
            adapter = LoraAdapter(self.section, self._layers)
        for name, parameter in sorted(adapter.named_parameters()):
            values[name] = torch.zeros(parameter.shape)
            if name.endswith("lora_A.weight"):
                nn.init.kaiming_uniform_(values[name], a=math.sqrt(5), generator=generator)
        return values

    def guard(self, run: RunModel, model: Any, inputs: Inputs) -> None:
        """See `Method`: every layer adds its term, which gets a gradient and has an effect."""
        training = model.training
        model.train()
        bound = replace(model.adapter.entry().bound, outputs={})
        outputs = run(entry=LoraEntry(bound), **inputs).outputs
        # Recomputation under checkpointing has not run yet, so one forward pass is one call.
        added = [bound.outputs.get(layer, [None])[0] for layer in bound.deltas]
        if any(one is None for one in added):
            raise MethodUnusedError("a layer was not called, so its LoRA term is never added.")
        # Through the terms alone: the parameters' own gradients belong to DeepSpeed.
        found = torch.autograd.grad(weighted_sum(outputs), added, allow_unused=True)
        names = {module: name for name, module in model.backbone.named_modules()}
        for layer, gradient in zip(bound.deltas, found, strict=True):
            # It may be zero: a query has none where T5's decoder sees one token only.
            if gradient is None:
                raise MethodUnusedError(f"no gradient reaches the LoRA term of {names[layer]}.")
            check_finite(gradient, "LoRA terms")
        if not any(gradient.any() for gradient in found):
            raise MethodUnusedError("the gradient of all LoRA terms is zero.")
        model.eval()
        # Terms are zero at first; so each of them is moved by one.
        moved = replace(model.adapter.entry().bound, offset=1.0)
        check_effect(run, inputs, "LoRA terms", entry=LoraEntry(moved))
        model.train(training)

    def describe(self) -> list[str]:
        """See `Method`."""
        names = sorted({name.rpartition(".")[2] for name in self._layers})
        return [
            f"LoRA: rank {self.section.rank} beside {len(self._layers)} layers ({', '.join(names)})"
        ]

    def facts(self) -> dict[str, Any]:
        """See `Method`."""
        transposed = any(isinstance(layer, Conv1D) for layer in self._layers.values())
        return {
            "layers": list(self._layers),
            "stem": self._empty.base_model_prefix,
            "transposed": transposed,
        }

    @classmethod
    def to_peft(cls, section: Lora, facts: Mapping[str, Any], file: Path) -> PeftFiles | str:
        """See `Method`: PEFT's LORA."""
        known = read_facts(_FACTS, facts)
        config = {
            "peft_type": "LORA",
            "r": section.rank,
            "lora_alpha": section.alpha,
            "lora_dropout": section.dropout,
            "use_rslora": section.rslora,
            "fan_in_fan_out": known.transposed,
            "target_modules": [f"{known.stem}.{name}" for name in known.layers],
            "bias": "none",
        }
        tensors = {
            f"base_model.model.{known.stem}.{name.removeprefix(f'{cls.ADAPTER}.')}": value.float()
            for name, value in read_tensors(file).items()
            if name.startswith(f"{cls.ADAPTER}.")
        }
        return PeftFiles(config, tensors, head_stem="base_model.model.")
