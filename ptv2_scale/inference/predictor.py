"""`Predictor`: one frozen backbone with any number of exports, at work on rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import torch
from torch import Tensor, nn

from ptv2_scale.backbones.load import Fill, Unsharded, materialise, usable_device
from ptv2_scale.data.rows import given_rows
from ptv2_scale.data.splits import Split
from ptv2_scale.distributed.agreement import Fact, check_agreement
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.export.card import source_folder
from ptv2_scale.inference.exported import Export, open_export
from ptv2_scale.inference.forward import answer_all
from ptv2_scale.model.identity import example_digests
from ptv2_scale.model.prompted import PromptedModel, PromptedOutput
from ptv2_scale.model.setup import build_model, model_filler
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.run_identity import RowsDigest
from ptv2_scale.tasks.base import Record, Trivial

Row = Mapping[str, object]
# Loads what is on the meta device, and gives what runs it: (export's number, **inputs) -> output.
Load = Callable[["SharedBackbone", Fill], Callable[..., PromptedOutput]]


class SharedBackbone(nn.Module):
    """Prompted models, called by number; they share a backbone that none of them has trained."""

    def __init__(self, models: Sequence[PromptedModel]) -> None:
        super().__init__()
        # By number: a folder's name may be none that PyTorch allows for a module.
        self.models = nn.ModuleList(models)

    def forward(self, export: int, **inputs: Any) -> PromptedOutput:
        """Run a batch through one of the models; see `PromptedModel.forward`."""
        output: PromptedOutput = self.models[export](**inputs)
        return output


class Predictor:
    """Answers to rows, by one export or several on the same backbone.

        predictor = Predictor.load("runs/demo")
        predictor.predict([{"text": "the room was clean ."}])
        # such as [{"label": "positive", "probabilities": {...}}]

    `Predictor.load` takes a backbone whole into this process; the commands `predict` and
    `evaluate` shard it over their ranks.

    Args:
        exports: opened, on the same backbone.
        ranks: where this process stands.
        load: loads the models.

    Raises:
        UserError: two exports need different backbones, or are called alike.
    """

    def __init__(self, exports: Sequence[Export], ranks: RankContext, load: Load) -> None:
        if not exports:
            raise UserError("no export was named. Give the folder of one at least.")
        _check_same_backbone(exports)
        self._exports = {export.name: export for export in exports}
        self._numbers = {export.name: number for number, export in enumerate(exports)}
        self._ranks = ranks
        models = list(_models(exports))
        shared = SharedBackbone(models).requires_grad_(False).eval()
        self._run = load(shared, _filler(models, exports))

    @classmethod
    def load(
        cls,
        *sources: str | Path,
        backbone: str | Path | None = None,
        device: str | torch.device = "cpu",
        task: str | None = None,
    ) -> Predictor:
        """Load exports, or finished runs, whole into this process.

        Args:
            *sources: their folders.
            backbone: name or folder, where it is not the one the exports name.
            device: where the model goes.
            task: which of several tasks.

        Raises:
            UserError: an export is damaged, or the backbone is another one.
        """
        if not isinstance(backbone, (str, Path, NoneType)):
            raise UserError(f"backbone: found a {type(backbone).__name__}, expected a path.")
        name = None if backbone is None else str(backbone)
        place = usable_device(device)
        exports = [open_export(source_folder(source), name, task=task) for source in sources]

        def load(shared: SharedBackbone, fill: Fill) -> Callable[..., PromptedOutput]:
            materialise(shared, fill, Unsharded(place))
            return shared.to(place)

        return cls(exports, RankContext.alone(place), load)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the exports: those of their folders."""
        return tuple(self._exports)

    def predict(self, rows: Sequence[Row], name: str | None = None) -> list[Record]:
        """Answers to rows, in their order; every rank calls it.

        Args:
            rows: with the columns of the task.
            name: of the export; None: the first.

        Returns:
            One record a row, whose keys are the task's: `label` and `probabilities` for
            classification.

        Raises:
            UserError: a column is missing, a text cannot be read, or ranks have other rows.
        """
        export = self._named(name or self.names[0])
        check_one_task(export)
        rows = given_rows(rows, export.setup.task.columns)
        examples = export.setup.encode(rows, with_targets=False)
        return self._answer(export, examples)

    def evaluate(self, name: str, split: Split) -> tuple[dict[str, float], Trivial]:
        """Metrics of one export on a split of its task, and what learning nothing scores.

        Raises:
            UserError: the split has no answers.
        """
        export = self._named(name)
        if split not in get_args(Split):
            raise UserError(f"split: found {split!r:.60}, allowed: {', '.join(get_args(Split))}.")
        data = export.setup.split(split)
        try:
            # First: without answers the backbone need not run.
            trivial = export.setup.task.trivial(data.rows)
        except UserError as error:
            raise UserError(f"task.{split}: {error}.") from None
        records = self._answer(export, data.examples)
        return export.setup.task.score(records, data.rows), trivial

    def _named(self, name: str) -> Export:
        if not isinstance(name, str) or name not in self._exports:
            raise UserError(f"no export is called {name!r:.60}; there are {', '.join(self.names)}.")
        return self._exports[name]

    def _answer(self, export: Export, examples: Sequence[Any]) -> list[Record]:
        number = self._numbers[export.name]
        rows = RowsDigest.of(example_digests(examples))
        check_agreement({"the rows": Fact(f"{rows.examples} examples {rows.sha256}")}, self._ranks)

        def run(**inputs: Any) -> PromptedOutput:
            output = self._run(export=number, **inputs)
            if output.outputs.isnan().any():
                raise UserError(
                    f"{export.name}: its outputs are not numbers (NaN), which is no answer. Its"
                    " tensors are damaged, or do not go with the values of this backbone: export"
                    " the run again."
                )
            return output

        return answer_all(run, export.setup, examples, self._ranks)


def _models(exports: Sequence[Export]) -> Iterator[PromptedModel]:
    """One model an export; they share one backbone, but for those that have trained it."""
    shared = None
    for export in exports:
        if export.setup.config.prompt.TRAINS_BACKBONE:
            yield build_model(export.setup)
        else:
            model = build_model(export.setup, shared)
            shared = model.backbone
            yield model


def check_one_task(export: Export) -> None:
    """Refuse to answer for several tasks at once.

    Raises:
        UserError: names the tasks.
    """
    task = export.setup.config.task
    if len(task.single) > 1:
        names = ", ".join(key.rpartition(".")[2] for key in task.single)
        raise UserError(
            f"{export.name}: is of the tasks {names}. Say which one answers: --task NAME, or task="
            " in Python."
        )


def _check_same_backbone(exports: Sequence[Export]) -> None:
    keys = {(export.card.fingerprint, export.setup.config.backbone.dtype) for export in exports}
    if len(keys) > 1:
        raise UserError(
            "these exports were trained on different backbones or dtypes; run them apart."
        )
    names = [export.name for export in exports]
    if len(set(names)) != len(names):
        raise UserError(f"two exports are called alike ({', '.join(names)}); rename a folder.")


def _filler(models: Sequence[PromptedModel], exports: Sequence[Export]) -> Fill:
    fillers = [
        model_filler(export.setup, model, export.trained)
        for model, export in zip(models, exports, strict=True)
    ]

    def fill(names: Sequence[str], start: int, target: Tensor) -> None:
        _, number, own = names[0].split(".", 2)
        fillers[int(number)]([own], start, target)

    return fill
