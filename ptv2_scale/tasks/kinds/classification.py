"""Classification of a text or of two: the GLUE and SuperGLUE tasks and the user's own data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor
from torch.nn import functional

from ptv2_scale.data.collate import NO_LABEL, Batch, Example, Padding, collate
from ptv2_scale.data.formats import Row
from ptv2_scale.data.splits import Split, Splits
from ptv2_scale.runtime.errors import UserError, did_you_mean
from ptv2_scale.tasks.base import Prediction, Style, Tokenizer
from ptv2_scale.tasks.heads import Head, HeadKind, Pool, build_head
from ptv2_scale.tasks.metrics import Metric
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
        name: the name in a recipe.
        text: how the text is read.
        label: how the label is read.
        labels: the classes, in the order of their numbers.
        metric: the metric that chooses the best checkpoint.
        also: metrics reported beside it.
        splits: where the rows are.
    """

    name: str
    text: TextFormat
    label: LabelFormat
    labels: tuple[str, ...]
    metric: Metric
    also: tuple[Metric, ...]
    splits: Splits

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Task`."""
        return self.text.columns

    def rows(self, split: Split) -> list[Row]:
        """See `Task`; rows of a test split may lack labels."""
        labelled = split != "test"
        wanted = (*self.columns, self.label.column) if labelled else self.columns
        rows = self.splits.rows(split, wanted)
        for number, row in enumerate(rows, start=1):
            if (
                self._class_of(row, f"{self.splits.place(split)}, row {number}") is None
                and labelled
            ):
                raise UserError(
                    f"{self.splits.place(split)}, row {number}: no label in the column "
                    f"'{self.label.column}'; allowed: {', '.join(self.labels)}"
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
        with_labels: bool = True,
    ) -> list[Example]:
        """See `Task`."""
        parts = [self.text.parts(row, number, style) for number, row in enumerate(rows, start=1)]
        inputs, cut = tokenize(parts, tokenizer, style, max_length)
        if cut:
            logger.warning(
                f"{self.name}: {cut} of {len(rows)} texts are longer than {max_length} tokens "
                "and were cut (task.max_length)"
            )
        return [
            Example(index, found, self._class_of(row, f"row {index + 1}") if with_labels else None)
            for index, (row, found) in enumerate(zip(rows, inputs, strict=True))
        ]

    def collate(self, examples: Sequence[Example], pad: Padding) -> Batch:
        """See `Task`."""
        return collate(examples, pad)

    def head(self, kind: HeadKind, width: int, dropout: float, pool: Pool) -> Head:
        """See `Task`."""
        return build_head(kind, width, len(self.labels), dropout, pool)

    def loss_sum(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of logits [batch, labels], summed over the examples that have a label."""
        return functional.cross_entropy(
            logits.float(), labels, ignore_index=NO_LABEL, reduction="sum"
        )

    def loss_count(self, examples: Sequence[Example]) -> int:
        """Examples that have a label."""
        return sum(example.label is not None for example in examples)

    def decode(self, logits: Tensor) -> list[Prediction]:
        """See `Task`; logits are [batch, labels]."""
        rows: list[list[float]] = logits.float().softmax(dim=-1).tolist()
        best: list[int] = logits.argmax(dim=-1).tolist()
        return [
            Prediction(self.labels[place], dict(zip(self.labels, row, strict=True)))
            for place, row in zip(best, rows, strict=True)
        ]

    def score(self, logits: Tensor, examples: Sequence[Example]) -> float:
        """See `Task`; logits are [examples, labels]."""
        return self.scores(logits, examples)[self.metric.name]

    def scores(self, logits: Tensor, examples: Sequence[Example]) -> dict[str, float]:
        """See `Task`; logits are [examples, labels]."""
        truth, predicted = _truth(examples), logits.argmax(dim=-1).tolist()
        return {metric.name: metric.score(truth, predicted) for metric in (self.metric, *self.also)}


def _truth(examples: Sequence[Example]) -> list[int]:
    known = [example.label for example in examples if example.label is not None]
    if len(known) < len(examples):
        raise UserError("these rows have no labels (a published test split?): nothing to compare")
    return known


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
