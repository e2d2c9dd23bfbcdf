"""The interface between a task and everything that trains, evaluates or serves it.

A kind of task owns its section of the recipe, its examples, its head, loss, answers and metrics.
Outside of it examples, outputs, targets and records are only passed on: nothing there knows what
their shapes mean. A kind is one file of `ptv2_scale/tasks/kinds` and one line in the registry;
another package registers its own with `ptv2_scale.tasks.registry.register_kind`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.backbones.load import BackboneFiles
from ptv2_scale.config import AnyTask, TaskSection
from ptv2_scale.data.collate import Batch, Example, Padding, pad_inputs
from ptv2_scale.data.rows import Row
from ptv2_scale.data.splits import Split, Splits
from ptv2_scale.tasks.heads import AnyHead

Style = Literal["pair", "named"]
Tokenizer = Any  # transformers' PreTrainedTokenizerBase; classic GLM's own is not derived from it
Record = dict[str, Any]  # an answer, as JSON has it


Leaderboard = Literal["glue", "superglue"]


@dataclass(frozen=True)
class Submission:
    """A file for a leaderboard.

    Attributes:
        file: its name, as the leaderboard wants it.
        rows: to be answered.
        lines: the lines, from one record a row.
    """

    file: str
    rows: list[Row]
    lines: Callable[[Sequence[Record]], list[str]]


@dataclass(frozen=True)
class Trivial:
    """What a model that has learned nothing would score.

    Attributes:
        value: of the task's metric.
        answer: what such a model always says: "the most frequent class".
    """

    value: float
    answer: str


class Task(Protocol):
    """A kind of task, bound to a recipe's section."""

    @property
    def name(self) -> str:
        """The name in a recipe."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that hold a row's text: what a file to be predicted must have."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the head's outputs, in the order of their numbers; () where they have none."""

    @property
    def metric(self) -> str:
        """Name of the metric that chooses the best checkpoint; higher is better."""

    def resolved(self) -> AnyTask:
        """The recipe's section with all that was found in the data written out."""

    def describe(self) -> list[str]:
        """Lines about the task for people: "labels: no, yes"."""

    def describe_rows(self, rows: Sequence[Mapping[str, object]]) -> list[str]:
        """Lines about training rows for people; what looks wrong begins with "warning: "."""

    def place(self, split: Split) -> str:
        """Where a split is, for messages."""

    def rows(self, split: Split) -> list[Row]:
        """All rows of a split.

        Raises:
            UserError: the split cannot be had, or a row's answer is missing or none of the task's.
        """

    def check_row(self, row: Mapping[str, object], number: int) -> None:
        """Refuse a row whose text cannot be read, before a backbone is loaded for it.

        Args:
            row: to be predicted.
            number: its number from 1, for messages about rows made in Python.

        Raises:
            UserError: a column is missing, or something else is in it than the task reads.
        """

    def submission(self, board: Leaderboard, source: Path) -> Submission:
        """What a leaderboard takes for the answers to a published file.

        Args:
            board: the leaderboard.
            source: the file, whose name may say which part of a benchmark it is.

        Raises:
            UserError: the task is none of the leaderboard's, the file cannot be read, or a row
                lacks what is read of it.
        """

    def encode(
        self,
        rows: Sequence[Mapping[str, object]],
        tokenizer: Tokenizer,
        style: Style,
        max_length: int,
        with_targets: bool = True,
    ) -> list[Example]:
        """Tokenized rows; those of one row follow one another, `row` being its place in `rows`.

        Args:
            rows: with the task's columns; any other column is left out.
            tokenizer: the backbone's.
            style: how the backbone wants two texts joined.
            max_length: most tokens, special tokens included; longer texts are cut, with a warning.
            with_targets: False to ignore answers, as for rows to be predicted.

        Raises:
            UserError: a column is missing, something else is in it, or an answer is none of the
                task's.
        """

    def longest(self, length: int) -> list[Example]:
        """Examples of `length` tokens, one of each sort of batch, by which memory is estimated.

        Their tokens are 0, and the answer is as long as it can be.
        """

    def head(self, family: Family, config: Config) -> AnyHead:
        """A new head on the hidden states of a backbone.

        Raises:
            UserError: the recipe names a head that the family does not have.
        """

    def collate(self, examples: Sequence[Example], pad: Padding) -> Batch:
        """A batch of at least one example."""

    def targets(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """The right answers of a batch, as `loss_sum` takes them."""

    def loss_sum(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """The loss summed over what `loss_count` counts, a float32 scalar.

        Args:
            outputs: what the head gives for a batch.
            targets: of the same batch, on the same device.
        """

    def loss_count(self, examples: Sequence[Example]) -> int:
        """How many terms `loss_sum` has: labelled examples, or tokens for tagging."""

    def decode(self, outputs: Tensor, examples: Sequence[Example]) -> list[Record]:
        """One record an example, in their order.

        Args:
            outputs: what the head gives for a batch, which may be padded.
            examples: of that batch.
        """

    def combine(self, records: Sequence[Record]) -> Record:
        """The record of one row, from those of its examples in their order."""

    def score(
        self, records: Sequence[Record], rows: Sequence[Mapping[str, object]]
    ) -> dict[str, float]:
        """Every metric that is published for the task, by name, `metric` first.

        Args:
            records: one a row.
            rows: in the same order, with their answers.

        Raises:
            UserError: a row has no answer.
        """

    def trivial(self, rows: Sequence[Mapping[str, object]]) -> Trivial:
        """What always giving the same answer scores on these rows."""


@runtime_checkable
class BackboneReader(Protocol):
    """A task whose examples depend on the backbone's architecture beyond its style of text."""

    def on(self, files: BackboneFiles) -> Task:
        """The task as it is on a backbone.

        Raises:
            UserError: it cannot be put to this architecture; says why.
        """


@runtime_checkable
class TextWriter(Protocol):
    """A task whose answers are texts that the backbone writes, token by token."""

    @property
    def max_new_tokens(self) -> int:
        """Most tokens of an answer, where nothing else is asked for."""

    def answer_end(self, tokenizer: Tokenizer) -> int:
        """The token that ends an answer.

        Raises:
            UserError: the tokenizer has none.
        """

    def written(self, tokens: Sequence[int], tokenizer: Tokenizer) -> Record:
        """The record of an answer, from its tokens without the one that ends it."""

    @property
    def scores_written(self) -> bool:
        """Whether `score` reads of each record what `written` has put there."""

    def unanswered(self, example: Example, tokenizer: Tokenizer) -> Example:
        """An example with its answer taken out, to be written behind it."""


class RowTask(ABC):
    """What most kinds of tasks do alike, beside what each of them has to say; see `Task`.

    Attributes:
        section: the recipe's.
        splits: where the rows are.
    """

    section: TaskSection
    splits: Splits

    @property
    def name(self) -> str:
        """See `Task`."""
        return self.section.name

    def place(self, split: Split) -> str:
        """See `Task`."""
        return self.splits.place(split)

    @abstractmethod
    def targets(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `Task`."""

    def collate(self, examples: Sequence[Example], pad: Padding) -> Batch:
        """See `Task`: inputs padded on the right."""
        return Batch(pad_inputs(examples, pad), self.targets(examples))

    def longest(self, length: int) -> list[Example]:
        """See `Task`: a text, whose answer is not known."""
        return [Example(0, {"input_ids": [0] * length})]

    def loss_count(self, examples: Sequence[Example]) -> int:
        """See `Task`: examples whose answer is known."""
        return sum(example.target is not None for example in examples)

    def combine(self, records: Sequence[Record]) -> Record:
        """See `Task`: a row is one example."""
        (record,) = records
        return record
