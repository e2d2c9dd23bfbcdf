"""Exports at work: one frozen backbone, sharded or whole, with any number of prefixes and heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import deepspeed
from torch import Tensor, nn

from ptv2_scale.backbones.load import Fill, materialise
from ptv2_scale.config import RunConfig, override
from ptv2_scale.data.splits import Split
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine.build import deepspeed_config
from ptv2_scale.engine.evaluator import forward_all
from ptv2_scale.engine.sharding import shards_for
from ptv2_scale.export.native import Card, read_card, read_values
from ptv2_scale.model.prompted import PromptedModel, PromptedOutput
from ptv2_scale.model.setup import Setup, build_model, first_values, model_filler, open_setup
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Prediction
from ptv2_scale.tasks.metrics import majority


@dataclass(frozen=True)
class Export:
    """One export, opened for use on a backbone.

    Attributes:
        name: its folder's name.
        card: about it.
        setup: its recipe, with the backbone it is to run on.
        values: its trained tensors.
    """

    name: str
    card: Card
    setup: Setup
    values: Mapping[str, Tensor]


def open_export(folder: Path, backbone: str | None = None, overrides: Sequence[str] = ()) -> Export:
    """Open an export, or a finished run.

    Args:
        folder: of the export or the run.
        backbone: name or folder, where it is not the one the card names.
        overrides: of its recipe, `task.path=FOLDER` and the like.

    Raises:
        UserError: it is damaged, or the backbone is another one than it was trained on.
    """
    card = read_card(folder)
    config = override(card.config(), overrides)
    if backbone is not None:
        section = config.backbone.model_copy(update={"name": backbone})
        config = config.model_copy(update={"backbone": section})
    setup = open_setup(as_table(config))
    if setup.fingerprint != card.fingerprint:
        raise UserError(
            f"{folder}: was trained on another backbone (fingerprint {card.fingerprint[:12]};"
            f" '{config.backbone.name}' has {setup.fingerprint[:12]})."
        )
    values = read_values(folder)
    _check_values(folder, setup, values)
    return Export(folder.resolve().name, card, setup, values)


def _check_values(folder: Path, setup: Setup, values: Mapping[str, Tensor]) -> None:
    expected = {name: list(value.shape) for name, value in first_values(setup).items()}
    found = {name: list(value.shape) for name, value in values.items()}
    wrong = sorted(
        name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
    )
    if wrong:
        name = wrong[0]
        raise UserError(
            f"{folder}: its tensors are not those of its recipe: {name} is"
            f" {found.get(name, 'missing')}, expected {expected.get(name, 'none')}."
        )


def as_table(config: RunConfig) -> RunConfig:
    """The recipe with its MLP folded in: exports hold the table that the MLP made."""
    if config.prompt.method != "prefix" or config.prompt.encoder == "table":
        return config
    prompt = config.prompt.model_copy(update={"encoder": "table"})
    return config.model_copy(update={"prompt": prompt})


def _for_ranks(config: RunConfig, ranks: RankContext) -> RunConfig:
    """The recipe with a batch that any number of ranks divides; serving makes no training steps."""
    batch = config.train.micro_batch * ranks.world
    train = config.train.model_copy(update={"global_batch": batch})
    return config.model_copy(update={"train": train})


class ServedModels(nn.Module):
    """Prompted models that share one backbone, called by number."""

    def __init__(self, models: Sequence[PromptedModel]) -> None:
        super().__init__()
        # By number: a folder's name may be none that PyTorch allows for a module.
        self.models = nn.ModuleList(models)

    def forward(self, served: int, **inputs: Any) -> PromptedOutput:
        """Run a batch through one of the models; see `PromptedModel.forward`."""
        output: PromptedOutput = self.models[served](**inputs)
        return output


class Predictor:
    """Exports loaded on these ranks.

    Args:
        exports: on the same backbone.
        ranks: where this process stands.

    Raises:
        UserError: two exports need different backbones.
    """

    def __init__(self, exports: Sequence[Export], ranks: RankContext) -> None:
        self._exports = {export.name: export for export in exports}
        self._ranks = ranks
        self._numbers = {export.name: number for number, export in enumerate(exports)}
        _check_same_backbone(exports)
        first = exports[0].setup
        models = [build_model(first)]
        models += [build_model(export.setup, models[0].backbone) for export in exports[1:]]
        setup = replace(first, config=_for_ranks(first.config, ranks))
        settings = deepspeed_config(setup, models[0], ranks)
        served = ServedModels(models)
        materialise(served, _filler(models, exports), shards_for(settings, ranks))
        self._model = _start(served.requires_grad_(False).eval(), settings, ranks)

    def logits(self, name: str, rows: Sequence[Mapping[str, object]]) -> Tensor:
        """Logits [rows, labels], fp32, of rows through the export called `name`."""
        setup = self._exports[name].setup
        examples = setup.task.encode(
            [dict(row) for row in rows],
            setup.tokenizer,
            setup.files.family.text_style,
            setup.config.task.max_length,
            with_labels=False,
        )
        return self._forward(name, examples)

    def _forward(self, name: str, examples: Sequence[Any]) -> Tensor:
        setup = self._exports[name].setup

        def run(**inputs: Any) -> PromptedOutput:
            output: PromptedOutput = self._model(served=self._numbers[name], **inputs)
            return output

        self._model.eval()
        return forward_all(run, setup, examples, self._ranks)

    def predict(self, name: str, rows: Sequence[Mapping[str, object]]) -> Iterator[Prediction]:
        """Labels and probabilities of rows, in their order."""
        return iter(self._exports[name].setup.task.decode(self.logits(name, rows)))

    def evaluate(self, name: str, split: Split) -> tuple[dict[str, float], float]:
        """Metrics of one export on a split of its task, and the most frequent class's score.

        Raises:
            UserError: the split has no labels.
        """
        setup = self._exports[name].setup
        examples = setup.examples(split)
        if any(example.label is None for example in examples):
            raise UserError(
                f"task.{split}: this split has no labels, so there is nothing to score."
            )
        scores = setup.task.scores(self._forward(name, examples), examples)
        labels = [example.label for example in examples if example.label is not None]
        return scores, majority(labels, setup.task.metric)


def _start(served: ServedModels, settings: dict[str, Any], ranks: RankContext) -> Any:
    """DeepSpeed's engine where the backbone is sharded; it has none below stage 3 to serve with."""
    if settings.get("zero_optimization", {}).get("stage", 0) < 3:
        return served.to(ranks.device)
    engine, *_ = deepspeed.initialize(model=served, config=settings)
    return engine


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
        model_filler(export.setup, model, dict(export.values))
        for model, export in zip(models, exports, strict=True)
    ]

    def fill(names: Sequence[str], start: int, target: Tensor) -> None:
        _, number, own = names[0].split(".", 2)
        fillers[int(number)]([own], start, target)

    return fill
