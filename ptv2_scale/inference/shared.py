"""One frozen backbone with several models on it, as one module that can be sharded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ptv2_scale.backbones.filling import Fill
from ptv2_scale.inference.exported import Export
from ptv2_scale.model.decoding import Request, Written
from ptv2_scale.model.prompted import PromptedModel, PromptedOutput
from ptv2_scale.model.setup import build_model, model_filler
from ptv2_scale.tasks.language_head import LanguageHead


@dataclass(frozen=True)
class Writing:
    """Texts of a batch that are to be answered, each by a model of its own.

    Attributes:
        models: numbers of the models whose rows may be in such a batch, on any rank.
        owners: of each row, a place in `models`.
        request: what is asked for.
    """

    models: tuple[int, ...]
    owners: tuple[int, ...]
    request: Request


class SharedBackbone(nn.Module):
    """Prompted models, called by number; they share a backbone that none of them has trained."""

    def __init__(self, models: Sequence[PromptedModel]) -> None:
        super().__init__()
        # By number: a folder's name may be none that PyTorch allows for a module.
        self.models = nn.ModuleList(models)

    def forward(
        self, export: int = 0, writing: Writing | None = None, **inputs: Any
    ) -> PromptedOutput | list[Written]:
        """Run a batch through one of the models; see `PromptedModel.forward`.

        Args:
            export: number of the model.
            writing: to answer the batch by texts instead, by the models that it names.
            **inputs: of the batch.
        """
        if writing is not None:
            return self._write(writing, inputs)
        output: PromptedOutput = self.models[export](**inputs)
        return output

    def _write(self, writing: Writing, inputs: Mapping[str, Tensor]) -> list[Written]:
        models = [cast(PromptedModel, self.models[number]) for number in writing.models]
        if len(models) == 1:
            return models[0].write(writing.request, inputs)
        # Of all models, whichever have rows here: under ZeRO-3 ranks gather their weights together.
        entries = [model.entry() for model in models]
        owners = torch.tensor(writing.owners, device=inputs["input_ids"].device)
        mix = models[0].method.mixer()
        assert mix is not None  # others are in groups of their own
        return models[0].write(writing.request, inputs, mix(entries, owners))


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
