"""Fine-tuning: every parameter of the backbone is trained, what all other methods compare with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ptv2_scale.methods.base import Entry, Inputs, Method, PeftFiles, RunModel, Wrapped, embed
from ptv2_scale.methods.guard import MethodUnusedError, check_finite, weighted_sum


class _Embedded(Entry):
    """Gives the backbone the embeddings of its text, and keeps them."""

    text: Tensor

    def wrap(self, inputs: Inputs, backbone: nn.Module) -> Wrapped:
        others = {name: value for name, value in inputs.items() if name != "input_ids"}
        self.text = embed(backbone, inputs["input_ids"])
        return Wrapped({**others, "inputs_embeds": self.text})


class FullTuningMethod(Method):
    """The backbone's own parameters, without exception."""

    TAGS: ClassVar[tuple[str, ...]] = ("fine-tuning",)

    def trains(self, name: str) -> bool:
        """See `Method`: all of them, also those that a head does not read, such as a pooler."""
        return True

    def guard(self, run: RunModel, model: Any, inputs: Inputs) -> None:
        """See `Method`: a gradient passes through all layers down to the input embeddings."""
        training = model.training
        model.train()
        entry = _Embedded()
        outputs = run(entry=entry, **inputs).outputs
        # Through the embeddings alone: the parameters' own gradients belong to DeepSpeed.
        (gradient,) = torch.autograd.grad(weighted_sum(outputs), entry.text, allow_unused=True)
        if gradient is None or not gradient.any():
            raise MethodUnusedError("no gradient reaches the backbone's input embeddings.")
        check_finite(gradient, "backbone")
        model.train(training)

    def describe(self) -> list[str]:
        """See `Method`."""
        return ["fine-tuning: every parameter of the backbone"]

    @classmethod
    def to_peft(cls, section: Any, facts: Mapping[str, Any], file: Path) -> PeftFiles | str:
        """See `Method`."""
        return "all of the backbone was trained, which is a model of its own and no adapter"
