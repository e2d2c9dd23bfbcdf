"""A score for a text or two, by its squared error: GLUE's STS-B and the user's own data."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.config import Regression
from ptv2_scale.data.collate import Example
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
from ptv2_scale.tasks.benchmarks.spec import RegressionSpec
from ptv2_scale.tasks.catalogue import benchmark, is_custom, splits_of
from ptv2_scale.tasks.correlation import pearson, spearman
from ptv2_scale.tasks.heads import Head, build_head, head_dropout, head_kind
from ptv2_scale.tasks.submission import answer_lines, official_file
from ptv2_scale.tasks.text import TextFormat, tokenize
from ptv2_scale.tasks.truth import all_known

logger = logging.getLogger(__name__)

METRICS: dict[str, Callable[[Sequence[float], Sequence[float]], float]] = {
    "pearson": pearson,
    "spearman": spearman,
}


@dataclass(frozen=True)
class RegressionTask(RowTask):
    """A `Task` of a score for each row.

    Attributes:
        section: the recipe's.
        text: how the text is read.
        column: of the score.
        splits: where the rows are.
        least, most: the range of a benchmark's scores, which a submission keeps to.
    """

    section: Regression
    text: TextFormat
    column: str
    splits: Splits
    least: float = -math.inf
    most: float = math.inf

    labels: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Task`."""
        return self.text.columns

    @property
    def metric(self) -> str:
        """See `Task`."""
        return self.section.metric or next(iter(METRICS))

    def resolved(self) -> Regression:
        """See `Task`: with the metric."""
        return self.section.model_copy(update={"metric": self.metric})

    def describe(self) -> list[str]:
        """See `Task`."""
        return ["a score for each row, by its squared error"]

    def describe_rows(self, rows: Sequence[Mapping[str, object]]) -> list[str]:
        """See `Task`: the range of the scores."""
        scores = self._truth(rows)
        mid = mean(scores)
        return [f"{len(rows)} scores from {min(scores):g} to {max(scores):g}, {mid:.3g} on average"]

    def rows(self, split: Split) -> list[Row]:
        """See `Task`; rows of a test split may lack scores."""
        if split == "test":
            return self.splits.rows(split, self.columns)
        rows = self.splits.rows(split, (*self.columns, self.column))
        for number, row in enumerate(rows, start=1):
            if self._score_of(row, number) is None:
                raise UserError(
                    f"{place_of(row, number)}: no score in the column '{self.column}', found"
                    f" {row[self.column]!r:.60}; expected a number"
                )
        return rows

    def check_row(self, row: Mapping[str, object], number: int) -> None:
        """See `Task`."""
        self.text.parts(row, number, "pair")

    def submission(self, board: Leaderboard, source: Path) -> Submission:
        """See `Task`: scores within the benchmark's range."""
        file = official_file(self.section, board, source)
        rows = self.splits.layout.read(source, self.columns)

        def lines(records: Sequence[Record]) -> list[str]:
            kept = [min(max(float(one["score"]), self.least), self.most) for one in records]
            return answer_lines(board, rows, [f"{one:.3f}" for one in kept])

        return Submission(file, rows, lines)

    def _score_of(self, row: Mapping[str, object], number: int) -> float | None:
        found = row.get(self.column)
        if found is None or found == "" or found != found:  # NaN alone is not itself
            return None
        score = _number(found)
        if score is None:
            raise UserError(
                f"{place_of(row, number)}, column '{self.column}': found {found!r:.60}, expected a"
                " number"
            )
        return score

    def encode(
        self,
        rows: Sequence[Mapping[str, object]],
        tokenizer: Tokenizer,
        style: Style,
        max_length: int,
        with_targets: bool = True,
    ) -> list[Example]:
        """See `Task`: one example a row, whose target is its score."""
        parts = [self.text.parts(row, number, style) for number, row in enumerate(rows, start=1)]

        def called(number: int) -> str:
            return place_of(rows[number - 1], number)

        inputs, cut = tokenize(parts, tokenizer, style, max_length, called)
        if cut:
            logger.warning(
                f"{self.name}: {cut} of {len(rows)} texts are longer than {max_length} tokens "
                "and were cut (task.max_length)"
            )
        return [
            Example(place, found, self._score_of(row, place + 1) if with_targets else None)
            for place, (row, found) in enumerate(zip(rows, inputs, strict=True))
        ]

    def head(self, family: Family, config: Config) -> Head:
        """See `Task`: one output."""
        kind = head_kind(self.section.head, family)
        return build_head(kind, family.width(config), 1, head_dropout(config, kind), family.pool)

    def targets(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `Task`: `scores` [batch], NaN where there is none."""
        scores = [math.nan if one.target is None else one.target for one in examples]
        return {"scores": torch.tensor(scores, dtype=torch.float32)}

    def loss_sum(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Squared error of outputs [batch, 1], summed over the examples that have a score."""
        known = ~targets["scores"].isnan()
        difference: Tensor = outputs.float().squeeze(1)[known] - targets["scores"][known]
        return difference.square().sum()

    def decode(self, outputs: Tensor, examples: Sequence[Example]) -> list[Record]:
        """See `Task`: `score`."""
        return [{"score": float(one)} for one in outputs.float().cpu().squeeze(1)]

    def score(
        self, records: Sequence[Record], rows: Sequence[Mapping[str, object]]
    ) -> dict[str, float]:
        """See `Task`."""
        truth, found = self._truth(rows), [float(record["score"]) for record in records]
        names = dict.fromkeys((self.metric, *METRICS))
        return {name: METRICS[name](truth, found) for name in names}

    def trivial(self, rows: Sequence[Mapping[str, object]]) -> Trivial:
        """See `Task`: a constant correlates with nothing."""
        self._truth(rows)
        return Trivial(0.0, "the same score for all")

    def _truth(self, rows: Sequence[Mapping[str, object]]) -> list[float]:
        return all_known((self._score_of(row, n) for n, row in enumerate(rows, start=1)), "scores")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def build(section: Regression) -> RegressionTask:
    """The task of a recipe's section; nothing is read here.

    Raises:
        UserError: the name is not known, or the files have no folder.
    """
    splits = splits_of(section)
    if not is_custom(section):
        spec = benchmark(section)
        assert isinstance(spec, RegressionSpec)
        text = TextFormat(spec.columns)
        return RegressionTask(section, text, "label", splits, spec.least, spec.most)
    assert section.text is not None  # the recipe's own rule
    assert section.label is not None
    columns = (section.text,) if section.text_pair is None else (section.text, section.text_pair)
    return RegressionTask(section, TextFormat(columns), section.label, splits)
