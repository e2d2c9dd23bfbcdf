"""Classification of a text or of two: the GLUE and SuperGLUE tasks and the user's own data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.backbones.load import BackboneFiles
from ptv2_scale.config import Classification
from ptv2_scale.data.collate import IGNORED, Batch, Example, Padding, pad_inputs
from ptv2_scale.data.rows import Row, place_of
from ptv2_scale.data.splits import Split, Splits
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import (
    Leaderboard,
    Record,
    RowTask,
    Style,
    Submission,
    Tokenizer,
    Trivial,
)
from ptv2_scale.tasks.benchmarks.spec import ClassificationSpec
from ptv2_scale.tasks.catalogue import (
    DEMO,
    benchmark,
    benchmarks_that_fit,
    is_custom,
    splits_of,
)
from ptv2_scale.tasks.classes import Classes
from ptv2_scale.tasks.cloze import Cloze
from ptv2_scale.tasks.heads import Head, build_head, head_dropout, head_kind
from ptv2_scale.tasks.labels import LabelReader, found_labels
from ptv2_scale.tasks.metrics import Metric, majority, metric_named
from ptv2_scale.tasks.pattern import Pattern, read_pattern
from ptv2_scale.tasks.submission import NUMBERS, answer_lines, official_file
from ptv2_scale.tasks.text import Inputs, TextFormat, tokenize
from ptv2_scale.tasks.verbalizer import VerbalizerHead

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassificationTask(RowTask):
    """A `Task` of one label out of a fixed set for each row.

    Attributes:
        section: the recipe's.
        text: how the text is read.
        classes: the labels, and how a row's is read.
        metrics: the metric that chooses the best checkpoint, and those reported beside it.
        splits: where the rows are.
        pattern: of a cloze question, with the word of each label; None: the head is trained.
        cloze: the same on a backbone.
    """

    section: Classification
    text: TextFormat
    classes: Classes
    metrics: tuple[Metric, ...]
    splits: Splits
    pattern: tuple[Pattern, tuple[str, ...]] | None = None
    cloze: Cloze | None = None

    def on(self, files: BackboneFiles) -> ClassificationTask:
        """See `BackboneReader`."""
        if self.pattern is None:
            return self
        return replace(self, cloze=Cloze(*self.pattern, self.text, files.family, files.config))

    @property
    def labels(self) -> tuple[str, ...]:
        """See `Task`."""
        return self.classes.labels

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Task`."""
        return self.text.columns

    @property
    def metric(self) -> str:
        """See `Task`."""
        return self.metrics[0].name

    def resolved(self) -> Classification:
        """See `Task`: labels that were found in the data, metric, and the class that f1 is of."""
        found: dict[str, object] = {"metric": self.metric}
        if self.name == DEMO or is_custom(self.section):
            found["labels"] = list(self.labels)
        if self._has_f1:
            found["positive"] = self.labels[self.positive]
        if self.pattern is not None:
            found["pattern"] = self.pattern[0].text
            found["verbalizer"] = dict(zip(self.labels, self.pattern[1], strict=True))
        return self.section.model_copy(update=found)

    def describe(self) -> list[str]:
        """See `Task`."""
        lines = [f"labels: {', '.join(self.labels)}"]
        if self._has_f1:
            which = "the second; see task.positive" if self.section.positive is None else "as given"
            lines.append(f"f1 is that of the class '{self.labels[self.positive]}' ({which})")
        if self.pattern is not None:
            words = zip(self.labels, self.pattern[1], strict=True)
            lines.append(f"pattern: {self.pattern[0].text}")
            lines.append(f"verbalizer: {', '.join(f'{label}: {word}' for label, word in words)}")
        return lines

    def describe_rows(self, rows: Sequence[Mapping[str, object]]) -> list[str]:
        """See `Task`: how often each class occurs, and what looks wrong in that."""
        return self.classes.describe_rows(rows)

    @property
    def _has_f1(self) -> bool:
        return any(metric.name == "f1" for metric in self.metrics)

    @property
    def positive(self) -> int:
        """Number of the class that f1 is of."""
        return self.classes.positive(self.section.positive)

    def check_row(self, row: Mapping[str, object], number: int) -> None:
        """See `Task`."""
        self.text.parts(row, number, "pair")

    def rows(self, split: Split) -> list[Row]:
        """See `Task`; rows of a test split may lack labels."""
        if split == "test":
            return self.classes.checked(self.splits.rows(split, self.text.outer))
        rows = self.splits.rows(split, (*self.text.outer, self.classes.reader.column))
        return self.classes.labelled(rows, self.splits.place(split))

    def submission(self, board: Leaderboard, source: Path) -> Submission:
        """See `Task`: labels as the leaderboard writes them."""
        file = official_file(self.section, board, source)
        spec = benchmark(self.section)
        assert isinstance(spec, ClassificationSpec)
        written = dict(zip(self.labels, spec.submitted or self.labels, strict=True))
        rows = self.splits.layout.read(source, (*self.text.outer, *NUMBERS[board]))
        for number, row in enumerate(rows, start=1):
            self.check_row(row, number)

        def lines(records: Sequence[Record]) -> list[str]:
            return answer_lines(board, rows, [written[one["label"]] for one in records])

        return Submission(file, rows, lines)

    def encode(
        self,
        rows: Sequence[Mapping[str, object]],
        tokenizer: Tokenizer,
        style: Style,
        max_length: int,
        with_targets: bool = True,
    ) -> list[Example]:
        """See `Task`: one example a row, whose target is the number of its class."""
        if not with_targets:
            self._warn_of_another_task(rows)
        inputs, cut = self._tokens(rows, tokenizer, style, max_length)
        if cut:
            logger.warning(
                f"{self.name}: {cut} of {len(rows)} texts are longer than {max_length} tokens "
                "and were cut (task.max_length)"
            )
        return [
            Example(index, found, self.classes.of(row, index + 1) if with_targets else None)
            for index, (row, found) in enumerate(zip(rows, inputs, strict=True))
        ]

    def _tokens(
        self,
        rows: Sequence[Mapping[str, object]],
        tokenizer: Tokenizer,
        style: Style,
        max_length: int,
    ) -> tuple[list[Inputs], int]:
        """Token ids of rows, and how many of them were cut."""
        if self.cloze is not None:
            return self.cloze.encode(rows, tokenizer, max_length)
        parts = [self.text.parts(row, number, style) for number, row in enumerate(rows, start=1)]

        def place(number: int) -> str:
            return place_of(rows[number - 1], number)

        return tokenize(parts, tokenizer, style, max_length, place)

    def _warn_of_another_task(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Say so where rows to be predicted are those of another task: columns may coincide."""
        signs = [
            f"they have the columns of {name}"
            for name in (benchmarks_that_fit(rows[0], self.columns) if rows else ())
            if name != self.name
        ]
        signs += self.classes.signs_of_others(rows)
        if signs:
            logger.warning(f"{self.name}: are these rows of another task? {'; '.join(signs)}")

    def longest(self, length: int) -> list[Example]:
        """See `Task`."""
        if self.cloze is None:
            return super().longest(length)
        return [Example(0, self.cloze.longest(length))]

    def head(self, family: Family, config: Config) -> Head:
        """See `Task`."""
        if self.cloze is not None:
            return VerbalizerHead(self.cloze)
        kind = head_kind(self.section.head, family)
        dropout = head_dropout(config, kind)
        return build_head(kind, family.width(config), len(self.labels), dropout, family.pool)

    def collate(self, examples: Sequence[Example], pad: Padding) -> Batch:
        """See `Task`."""
        pad_them = pad_inputs if self.cloze is None else self.cloze.collate
        return Batch(pad_them(examples, pad), self.targets(examples))

    def targets(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `Task`: `labels` [batch], -100 where there is none."""
        classes = [example.target for example in examples]
        return {"labels": torch.tensor([IGNORED if one is None else one for one in classes])}

    def loss_sum(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of logits [batch, labels], summed over the examples that have a label."""
        return functional.cross_entropy(
            outputs.float(), targets["labels"], ignore_index=IGNORED, reduction="sum"
        )

    def decode(self, outputs: Tensor, examples: Sequence[Example]) -> list[Record]:
        """See `Task`: `label`, and `probabilities` of all labels; outputs are [batch, labels]."""
        logits = outputs.float().cpu()
        rows: list[list[float]] = logits.softmax(dim=-1).tolist()
        best: list[int] = logits.argmax(dim=-1).tolist()
        return [
            {"label": self.labels[place], "probabilities": dict(zip(self.labels, row, strict=True))}
            for place, row in zip(best, rows, strict=True)
        ]

    def score(
        self, records: Sequence[Record], rows: Sequence[Mapping[str, object]]
    ) -> dict[str, float]:
        """See `Task`."""
        truth = self.classes.truth(rows)
        predicted = [self.classes.numbers[record["label"]] for record in records]
        return {metric.name: metric.score(truth, predicted) for metric in self.metrics}

    def trivial(self, rows: Sequence[Mapping[str, object]]) -> Trivial:
        """See `Task`."""
        return Trivial(
            majority(self.classes.truth(rows), self.metrics[0]), "the most frequent class"
        )


def build(section: Classification) -> ClassificationTask:
    """The task of a recipe's section.

    Nothing is read here, but the training split where a task's labels are those found in it
    (`demo` and `classification` without `task.labels`).

    Raises:
        UserError: the name is not known, or a key is missing or of no meaning for this task.
    """
    if is_custom(section):
        return _custom(section)
    if section.name == DEMO:
        return _with_found_labels(section, TextFormat(("text",)), LabelReader())
    return _published(section)


def _published(section: Classification) -> ClassificationTask:
    spec = benchmark(section)
    assert isinstance(spec, ClassificationSpec)
    if section.labels is not None and tuple(section.labels) != spec.labels:
        raise UserError(
            f"task.labels: {spec.name} has the labels {', '.join(spec.labels)}; leave the key out"
        )
    aliases = dict(zip(spec.hub_labels, spec.labels, strict=False))
    metrics = (section.metric or spec.metric, spec.metric, *spec.also)
    text = TextFormat(spec.columns, spec.templates, spec.inside)
    task = _task(section, text, LabelReader(aliases=aliases), spec.labels, metrics)
    if section.head != "verbalizer":
        return task
    return _with_pattern(task, spec.pattern, dict(zip(spec.labels, spec.words, strict=False)))


def _custom(section: Classification) -> ClassificationTask:
    assert section.text is not None  # the recipe's own rule
    assert section.label is not None
    columns = (section.text,) if section.text_pair is None else (section.text, section.text_pair)
    return _with_found_labels(section, TextFormat(columns), LabelReader(section.label))


def _with_found_labels(
    section: Classification, text: TextFormat, reader: LabelReader
) -> ClassificationTask:
    splits = splits_of(section)
    if section.labels is not None:
        labels = tuple(section.labels)
    else:
        rows = splits.rows("train", (*text.columns, reader.column))
        labels = found_labels(rows, reader, splits.place("train"))
    task = _task(section, text, reader, labels, (section.metric or "accuracy",))
    return _with_pattern(task, "", {}) if section.head == "verbalizer" else task


def _with_pattern(
    task: ClassificationTask, pattern: str, words: Mapping[str, str]
) -> ClassificationTask:
    """The task with its pattern and words, those of the recipe or else the published ones."""
    section = task.section
    if not (section.pattern or pattern):
        raise UserError(f"task.pattern: none was published for {task.name}. Add one of your own.")
    read = read_pattern(section.pattern or pattern, task.text.columns)
    return replace(task, pattern=(read, task.classes.words(section.verbalizer or words)))


def _task(
    section: Classification,
    text: TextFormat,
    reader: LabelReader,
    labels: tuple[str, ...],
    metrics: tuple[str, ...],
) -> ClassificationTask:
    classes = Classes(labels, replace(reader, given=labels), section.unlabelled)
    if section.positive is not None and "f1" not in metrics:
        raise UserError("task.positive: is for task.metric: f1 alone; remove it, or set the metric")
    positive = classes.positive(section.positive)
    named = tuple(metric_named(name, len(labels), positive) for name in dict.fromkeys(metrics))
    return ClassificationTask(section, text, classes, named, splits_of(section))
