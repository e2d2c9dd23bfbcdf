"""One frozen backbone with several models on it, as one module that can be sharded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ptv2_scale.backbones.filling import Fill
from ptv2_scale.inference.exported import Export
from ptv2_scale.methods.base import Entry
from ptv2_scale.model.decoding import Request, Written
from ptv2_scale.model.prompted import PromptedModel, PromptedOutput
from ptv2_scale.model.setup import build_model, model_filler
from ptv2_scale.tasks.language_head import LanguageHead


@dataclass(frozen=True)
class Mixture:
    """Models that have rows in one batch; of several, their methods can be mixed.

    Attributes:
        models: numbers of the models that may have rows in such a batch, on any rank.
        owners: of each line of the batch, a place in `models`.
    """

    models: tuple[int, ...]
    owners: tuple[int, ...]


class SharedBackbone(nn.Module):
    """Prompted models, called by number; they share a backbone that none of them has trained."""

    def __init__(self, models: Sequence[PromptedModel]) -> None:
        super().__init__()
        # By number: a folder's name may be none that PyTorch allows for a module.
        self.models = nn.ModuleList(models)

    def forward(
        self,
        export: int = 0,
        mixture: Mixture | None = None,
        writing: Request | None = None,
        right_padded: bool = False,
        **inputs: Any,
    ) -> PromptedOutput | list[PromptedOutput] | list[Written]:
        """Run a batch; see `PromptedModel.forward`.

        Args:
            export: number of the model that all lines are of.
            mixture: the models that lines are of, in place of one.
            writing: to answer the batch by texts instead.
            right_padded: see `PromptedModel.forward`.
            **inputs: of the batch.

        Returns:
            What the model gives; of a mixture without texts, what each of its models would make of
            all lines, among which those of others mean nothing.
        """
        if mixture is None:
            output: PromptedOutput | list[Written] = self.models[export](
                writing=writing, right_padded=right_padded, **inputs
            )
            return output
        models = [cast(PromptedModel, self.models[number]) for number in mixture.models]
        entry = _mixed(models, mixture.owners, inputs["input_ids"].device)
        if writing is not None:
            return models[0].write(writing, inputs, entry)
        outputs, front = models[0].run_backbone(entry, inputs, right_padded=right_padded)
        return [model.read(outputs, inputs, front) for model in models]


def _mixed(models: Sequence[PromptedModel], owners: Sequence[int], device: torch.device) -> Entry:
    # Of all models, whichever have rows here: under ZeRO-3 ranks gather their weights together.
    entries = [model.entry() for model in models]
    used = sorted(set(owners))
    if len(used) == 1:
        return entries[used[0]]
    mix = models[0].method.mixer()
    assert mix is not None  # others are in batches of their own
    places = torch.tensor([used.index(owner) for owner in owners], device=device)
    return mix([entries[one] for one in used], places)


def models_of(exports: Sequence[Export]) -> Iterator[PromptedModel]:
    """One model an export; they share one backbone, but for those that have trained it."""
    first = None
    for export in exports:
        if export.setup.config.prompt.TRAINS_BACKBONE:
            yield build_model(export.setup)
        elif first is None:
            first = build_model(export.setup)
            yield first
        else:
            yield _beside(first, build_model(export.setup, first.backbone))


def _beside(first: PromptedModel, model: PromptedModel) -> PromptedModel:
    """A model that shares what is frozen with the first: the head over the vocabulary, too."""
    if isinstance(first.head, LanguageHead) and isinstance(model.head, LanguageHead):
        model.head.share(first.head)
    return model


def filler_of(models: Sequence[PromptedModel], exports: Sequence[Export]) -> Fill:
    """What fills the parameters of a `SharedBackbone`, each from its own export."""
    fillers = [
        model_filler(export.setup, model, export.trained)
        for model, export in zip(models, exports, strict=True)
    ]

    def fill(names: Sequence[str], start: int, target: Tensor) -> None:
        _, number, own = names[0].split(".", 2)
        fillers[int(number)]([own], start, target)

    return fill
