"""The interface between a task and everything that trains, evaluates or serves it.

A task owns the meaning of its labels; outside, labels, predictions and batches are only passed on.
Multiple choice, tagging, span answers, generation or a mix of tasks fit by other inputs in `encode`
and `collate`, another head, and other arithmetic in `loss_sum`, `decode` and `score`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor

from ptv2_scale.data.collate import Batch, Example, Padding
from ptv2_scale.data.formats import Row
from ptv2_scale.data.splits import Split
from ptv2_scale.tasks.heads import Head, HeadKind, Pool
from ptv2_scale.tasks.metrics import Metric

Style = Literal["pair", "named"]
Tokenizer = Any  # transformers' PreTrainedTokenizerBase; classic GLM's own is not derived from it


@dataclass(frozen=True)
class Prediction:
    """What a model says of one example.

    Attributes:
        label: the answer, as the task's files write it.
        probabilities: of every label; sums to 1.
    """

    label: str
    probabilities: dict[str, float]


class Task(Protocol):
    """A task; see the module's docstring."""

    @property
    def name(self) -> str:
        """The name in a recipe."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that hold a row's text: what a file to be predicted must have."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes; a class's number is its place here."""

    @property
    def metric(self) -> Metric:
        """The metric that chooses the best checkpoint; higher is better."""

    def rows(self, split: Split) -> list[Row]:
        """All rows of a split.

        Raises:
            UserError: the split cannot be had, or a label is missing or not one of `labels`.
        """

    def encode(
        self,
        rows: Sequence[Mapping[str, object]],
        tokenizer: Tokenizer,
        style: Style,
        max_length: int,
        with_labels: bool = True,
    ) -> list[Example]:
        """Tokenized rows, `index` being the place in `rows`.

        Args:
            rows: with the task's columns; any other column is left out.
            tokenizer: the backbone's.
            style: how the backbone wants two texts joined.
            max_length: most tokens, special tokens included; longer texts are cut, with a warning.
            with_labels: False to ignore labels, as for rows to be predicted.

        Raises:
            UserError: a column is missing or not text, or a label is not one of `labels`.
        """

    def collate(self, examples: Sequence[Example], pad: Padding) -> Batch:
        """A batch of examples: the backbone's inputs, `labels` and `index`."""

    def head(self, kind: HeadKind, width: int, dropout: float, pool: Pool) -> Head:
        """A new head on a hidden state of `width`; `dropout` is where transformers has one."""

    def loss_sum(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss summed over what `loss_count` counts, a float32 scalar."""

    def loss_count(self, examples: Sequence[Example]) -> int:
        """How many terms `loss_sum` has: labelled examples, or tokens for tagging."""

    def decode(self, logits: Tensor) -> list[Prediction]:
        """One prediction for each row of logits."""

    def score(self, logits: Tensor, examples: Sequence[Example]) -> float:
        """`metric` of logits [examples, ...], as a fraction of 1.

        Raises:
            UserError: an example has no label.
        """

    def scores(self, logits: Tensor, examples: Sequence[Example]) -> dict[str, float]:
        """Every metric that is published for the task, by name, `metric` first; see `score`."""
