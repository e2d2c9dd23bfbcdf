"""Classification of a text or of two: the GLUE and SuperGLUE tasks and the user's own data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.config import Classification
from ptv2_scale.data.collate import IGNORED, Batch, Example, Padding, pad_inputs
from ptv2_scale.data.formats import Row
from ptv2_scale.data.splits import Split, Splits
from ptv2_scale.runtime.errors import UserError, did_you_mean
from ptv2_scale.tasks.base import Record, Style, Tokenizer, Trivial
from ptv2_scale.tasks.catalogue import CUSTOM, DEMO, benchmark, splits_of
from ptv2_scale.tasks.heads import Head, build_head, head_dropout, head_kind
from ptv2_scale.tasks.metrics import Metric, majority, metric_named
from ptv2_scale.tasks.text import TextFormat, tokenize

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelFormat:
    """How a row's label is read.

    Attributes:
        column: the column it is in.
        aliases: other names of labels, such as the hub's, and the published label each stands for.
    """

    column: str = "label"
    aliases: Mapping[str, str] = field(default_factory=dict)

    def read(self, row: Mapping[str, object]) -> str | None:
        """The label as text, JSON's booleans as true and false; None where there is none."""
        value = row.get(self.column)
        if value is None:
            return None
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return self.aliases.get(text, text)


@dataclass(frozen=True)
class ClassificationTask:
    """A `Task` of one label out of a fixed set for each row.

    Attributes:
        section: the recipe's.
        text: how the text is read.
        label: how the label is read.
        labels: the classes, in the order of their numbers.
        metrics: the metric that chooses the best checkpoint, and those reported beside it.
        splits: where the rows are.
    """

    section: Classification
    text: TextFormat
    label: LabelFormat
    labels: tuple[str, ...]
    metrics: tuple[Metric, ...]
    splits: Splits

    @property
    def name(self) -> str:
        """See `Task`."""
        return self.section.name

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Task`."""
        return self.text.columns

    @property
    def metric(self) -> str:
        """See `Task`."""
        return self.metrics[0].name

    def resolved(self) -> Classification:
        """See `Task`: labels that were found in the data."""
        if self.name not in (CUSTOM, DEMO):
            return self.section
        return self.section.model_copy(update={"labels": list(self.labels)})

    def describe(self) -> list[str]:
        """See `Task`."""
        return [f"labels: {', '.join(self.labels)}"]

    def rows(self, split: Split) -> list[Row]:
        """See `Task`; rows of a test split may lack labels."""
        labelled = split != "test"
        wanted = (*self.columns, self.label.column) if labelled else self.columns
        rows = self.splits.rows(split, wanted)
        for number, row in enumerate(rows, start=1):
            place = f"{self.splits.place(split)}, row {number}"
            if self._class_of(row, place) is None and labelled:
                raise UserError(
                    f"{place}: no label in the column '{self.label.column}'; allowed: "
                    f"{', '.join(self.labels)}"
                )
        return rows

    def _class_of(self, row: Mapping[str, object], place: str) -> int | None:
        found = self.label.read(row)
        if found is None:
            return None
        if found not in self._classes:
            raise UserError(
                f"{place}: found the label '{found[:60]}' in the column '{self.label.column}', "
                f"allowed: {', '.join(self.labels)}.{did_you_mean(found, self.labels)}"
            )
        return self._classes[found]

    @cached_property
    def _classes(self) -> dict[str, int]:
        return {label: number for number, label in enumerate(self.labels)}

    def encode(
        self,
        rows: Sequence[Mapping[str, object]],
        tokenizer: Tokenizer,
        style: Style,
        max_length: int,
        with_targets: bool = True,
    ) -> list[Example]:
        """See `Task`: one example a row, whose target is the number of its class."""
        parts = [self.text.parts(row, number, style) for number, row in enumerate(rows, start=1)]
        inputs, cut = tokenize(parts, tokenizer, style, max_length)
        if cut:
            logger.warning(
                f"{self.name}: {cut} of {len(rows)} texts are longer than {max_length} tokens "
                "and were cut (task.max_length)"
            )
        return [
            Example(index, found, self._class_of(row, f"row {index + 1}") if with_targets else None)
            for index, (row, found) in enumerate(zip(rows, inputs, strict=True))
        ]

    def head(self, family: Family, config: Config) -> Head:
        """See `Task`."""
        kind = head_kind(self.section.head, family)
        dropout = head_dropout(config, kind)
        return build_head(kind, family.width(config), len(self.labels), dropout, family.pool)

    def collate(self, examples: Sequence[Example], pad: Padding) -> Batch:
        """See `Task`."""
        return Batch(pad_inputs(examples, pad), self.targets(examples))

    def targets(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `Task`: `labels` [batch], -100 where there is none."""
        classes = [example.target for example in examples]
        return {"labels": torch.tensor([IGNORED if one is None else one for one in classes])}

    def loss_sum(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of logits [batch, labels], summed over the examples that have a label."""
        return functional.cross_entropy(
            outputs.float(), targets["labels"], ignore_index=IGNORED, reduction="sum"
        )

    def loss_count(self, examples: Sequence[Example]) -> int:
        """Examples that have a label."""
        return sum(example.target is not None for example in examples)

    def decode(self, outputs: Tensor, examples: Sequence[Example]) -> list[Record]:
        """See `Task`: `label`, and `probabilities` of all labels; outputs are [batch, labels]."""
        logits = outputs.float().cpu()
        rows: list[list[float]] = logits.softmax(dim=-1).tolist()
        best: list[int] = logits.argmax(dim=-1).tolist()
        return [
            {"label": self.labels[place], "probabilities": dict(zip(self.labels, row, strict=True))}
            for place, row in zip(best, rows, strict=True)
        ]

    def combine(self, records: Sequence[Record]) -> Record:
        """See `Task`."""
        (record,) = records
        return record

    def score(
        self, records: Sequence[Record], rows: Sequence[Mapping[str, object]]
    ) -> dict[str, float]:
        """See `Task`."""
        truth = self._truth(rows)
        predicted = [self._classes[record["label"]] for record in records]
        return {metric.name: metric.score(truth, predicted) for metric in self.metrics}

    def trivial(self, rows: Sequence[Mapping[str, object]]) -> Trivial:
        """See `Task`."""
        return Trivial(majority(self._truth(rows), self.metrics[0]), "the most frequent class")

    def _truth(self, rows: Sequence[Mapping[str, object]]) -> list[int]:
        classes = [self._class_of(row, f"row {number}") for number, row in enumerate(rows, start=1)]
        known = [one for one in classes if one is not None]
        if len(known) < len(classes):
            raise UserError(
                "these rows have no labels (a published test split?): nothing to compare"
            )
        return known


def build(section: Classification) -> ClassificationTask:
    """The task of a recipe's section.

    Nothing is read here, but the training split where a task's labels are those found in it
    (`demo` and `classification` without `task.labels`).

    Raises:
        UserError: the name is not known, or a key is missing or of no meaning for this task.
    """
    if section.name == CUSTOM:
        return _custom(section)
    if section.name == DEMO:
        return _with_found_labels(section, TextFormat(("text",)), LabelFormat())
    return _published(section)


def _published(section: Classification) -> ClassificationTask:
    spec = benchmark(section.name)
    if section.labels is not None and tuple(section.labels) != spec.labels:
        raise UserError(
            f"task.labels: {spec.name} has the labels {', '.join(spec.labels)}; leave the key out"
        )
    label = LabelFormat(aliases=dict(zip(spec.hub_labels, spec.labels, strict=False)))
    metrics = (section.metric or spec.metric, spec.metric, *spec.also)
    return _task(section, TextFormat(spec.columns, spec.template), label, spec.labels, metrics)


def _custom(section: Classification) -> ClassificationTask:
    assert section.text is not None  # the recipe's own rule
    assert section.label is not None
    columns = (section.text,) if section.text_pair is None else (section.text, section.text_pair)
    return _with_found_labels(section, TextFormat(columns), LabelFormat(section.label))


def _with_found_labels(
    section: Classification, text: TextFormat, label: LabelFormat
) -> ClassificationTask:
    splits = splits_of(section)
    if section.labels is not None:
        labels = tuple(section.labels)
    else:
        rows = splits.rows("train", (*text.columns, label.column))
        labels = found_labels(rows, label, splits.place("train"))
    return _task(section, text, label, labels, (section.metric or "accuracy",))


def _task(
    section: Classification,
    text: TextFormat,
    label: LabelFormat,
    labels: tuple[str, ...],
    metrics: tuple[str, ...],
) -> ClassificationTask:
    if len(set(labels)) < max(len(labels), 2):
        raise UserError(f"task.labels: found {list(labels)}, expected two or more different labels")
    named = tuple(metric_named(name, len(labels)) for name in dict.fromkeys(metrics))
    return ClassificationTask(section, text, label, labels, named, splits_of(section))


def found_labels(
    rows: Sequence[Mapping[str, object]], label: LabelFormat, place: str
) -> tuple[str, ...]:
    """The labels that occur in rows, sorted; UserError if there are fewer than two."""
    found = {text for row in rows if (text := label.read(row)) is not None}
    if len(found) < 2:
        raise UserError(
            f"{place}: a task needs at least two labels; found in the column '{label.column}': "
            + (", ".join(sorted(found)) or "none")
        )
    return tuple(sorted(found))
