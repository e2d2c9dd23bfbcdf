"""Answers that are spans of a text: SQuAD 1.1 and 2.0, and the user's own data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.config import Span
from ptv2_scale.data.collate import IGNORED, Example
from ptv2_scale.data.formats import READERS
from ptv2_scale.data.rows import Row
from ptv2_scale.data.splits import LocalSplits, Split, Splits
from ptv2_scale.data.squad import read_squad
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
from ptv2_scale.tasks.benchmarks.spec import SpanSpec
from ptv2_scale.tasks.catalogue import benchmark, is_custom, splits_of
from ptv2_scale.tasks.contexts import ContextEncoder
from ptv2_scale.tasks.gold import Gold, QuestionReader
from ptv2_scale.tasks.span_scores import span_scores
from ptv2_scale.tasks.spans import row_record, window_record
from ptv2_scale.tasks.submission import refusal
from ptv2_scale.tasks.token_head import TokenHead
from ptv2_scale.tasks.truth import all_known

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpanTask(RowTask):
    """A `Task` of finding the span of a context that answers a question.

    Attributes:
        section: the recipe's, with `no_answer` and `metric` written out.
        reader: of rows.
        splits: where they are.
    """

    section: Span
    reader: QuestionReader
    splits: Splits

    labels: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Task`."""
        return (self.section.question, self.section.context)

    @property
    def metric(self) -> str:
        """See `Task`."""
        return self.section.metric or "f1"

    @property
    def _no_answer(self) -> bool:
        return bool(self.section.no_answer)

    def resolved(self) -> Span:
        """See `Task`."""
        return self.section

    def describe(self) -> list[str]:
        """See `Task`."""
        if not self._no_answer:
            return ["answers are spans of the context"]
        return [
            "answers are spans of the context, or none: where its score is above the best span's by"
            f" more than {self.section.null_threshold:g} (task.null_threshold)"
        ]

    def describe_rows(self, rows: Sequence[Mapping[str, object]]) -> list[str]:
        """See `Task`: questions, contexts, and questions without an answer."""
        contexts = {row[self.section.context] for row in rows}
        without = sum(gold is not None and not gold.texts for gold in self._all_gold(rows))
        return [f"{len(rows)} questions on {len(contexts)} contexts, {without} without an answer"]

    def check_row(self, row: Mapping[str, object], number: int) -> None:
        """See `Task`."""
        self.reader.question(row, number)
        self.reader.context(row, number)

    def submission(self, board: Leaderboard, source: Path) -> Submission:
        """See `Task`: SQuAD is on neither of them."""
        raise refusal(self.section, board)

    def rows(self, split: Split) -> list[Row]:
        """See `Task`; rows of a test split may lack answers."""
        rows = self.splits.rows(split, self.columns)
        for number, row in enumerate(rows, start=1):
            gold = self.reader.gold(row, number)
            if gold is None and split != "test":
                raise UserError(
                    f"{self.reader.place(row, number)}: nothing says what is right; no"
                    f" '{self.section.answers}'"
                )
            if gold is not None and not gold.texts and not self._no_answer:
                raise UserError(
                    f"{self.reader.place(row, number)}: the question has no answer. Where that may"
                    " be so, set task.no_answer: true"
                )
            if gold is not None and split == "train":
                self.reader.check(row, number, gold)
        return rows

    def encode(
        self,
        rows: Sequence[Mapping[str, object]],
        tokenizer: Tokenizer,
        style: Style,
        max_length: int,
        with_targets: bool = True,
    ) -> list[Example]:
        """See `Task`: a window over the context is an example.

        `source` is the `ContextWindow`; `target` the first and last token of the first right answer
        in it, or twice that of no answer, where the window has none.
        """
        encoder = ContextEncoder(tokenizer, style, max_length, self.section)
        examples, longer = [], 0
        for index, row in enumerate(rows):
            question = self.reader.question(row, index + 1)
            context = self.reader.context(row, index + 1)
            gold = self.reader.gold(row, index + 1) if with_targets else None
            tokens = None if gold is None else _tokens(encoder, context, gold)
            longer += tokens is not None and len(tokens) > self.section.max_answer
            for inputs, window in encoder.windows(question, context):
                target = None if tokens is None else window.target(tokens)
                answers = () if gold is None else gold.texts
                examples.append(Example(index, inputs, target, answers=answers, source=window))
        self._warn(encoder, longer, max_length, len(rows))
        return examples

    def _warn(self, encoder: ContextEncoder, longer: int, max_length: int, rows: int) -> None:
        said = {
            f"{encoder.windowed} of {rows} contexts are longer than {max_length} tokens with their"
            " questions and were read in windows (task.max_length, task.stride)": encoder.windowed,
            f"{encoder.cut_questions} of {rows} questions are longer than"
            f" {self.section.max_question} tokens and were cut (task.max_question)": (
                encoder.cut_questions
            ),
            f"{longer} of {rows} right answers have more than {self.section.max_answer} tokens, so"
            " they are never given (task.max_answer)": longer,
        }
        for text, count in said.items():
            if count:
                logger.warning(f"{self.name}: {text}")

    def head(self, family: Family, config: Config) -> TokenHead:
        """See `Task`: two scores a token, as transformers' ForQuestionAnswering has them."""
        return TokenHead(family.width(config), 2)

    def targets(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `Task`: `spans` [batch, 2], -100 where none is known, and `lengths` [batch]."""
        spans = [one.target or (IGNORED, IGNORED) for one in examples]
        lengths = [one.length for one in examples]
        return {"spans": torch.tensor(spans), "lengths": torch.tensor(lengths)}

    def loss_sum(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Mean of the cross-entropies of start and end over a window's tokens, summed."""
        columns = torch.arange(outputs.shape[1], device=outputs.device)
        padding = columns >= targets["lengths"][:, None]
        scores = outputs.float().masked_fill(padding[..., None], float("-inf"))
        summed = functional.cross_entropy(
            scores, targets["spans"], ignore_index=IGNORED, reduction="sum"
        )
        return summed / 2

    def decode(self, outputs: Tensor, examples: Sequence[Example]) -> list[Record]:
        """See `Task`: the best spans of each window; outputs are [batch, longest, 2]."""
        n_best, longest = self.section.n_best, self.section.max_answer
        scores = outputs.float().cpu()
        return [
            window_record(found, one.source, n_best, longest)
            for found, one in zip(scores, examples, strict=True)
        ]

    def combine(self, records: Sequence[Record]) -> Record:
        """See `Task` and `row_record`."""
        section = self.section
        return row_record(records, section.n_best, self._no_answer, section.null_threshold)

    def score(
        self, records: Sequence[Record], rows: Sequence[Mapping[str, object]]
    ) -> dict[str, float]:
        """See `Task`: f1 and exact as SQuAD's official evaluation has them, from 0 to 1."""
        truth = [gold.texts for gold in self._known(rows)]
        found = span_scores(records, truth, self._no_answer)
        return {self.metric: found[self.metric], **found}

    def trivial(self, rows: Sequence[Mapping[str, object]]) -> Trivial:
        """See `Task`: no answer to any question."""
        truth = [gold.texts for gold in self._known(rows)]
        silent: list[Record] = [{"answer": "", "best": "", "null_difference": 0.0}] * len(truth)
        return Trivial(span_scores(silent, truth, False)[self.metric], "no answer to any question")

    def _all_gold(self, rows: Sequence[Mapping[str, object]]) -> list[Gold | None]:
        return [self.reader.gold(row, number) for number, row in enumerate(rows, start=1)]

    def _known(self, rows: Sequence[Mapping[str, object]]) -> list[Gold]:
        return all_known(self._all_gold(rows), "answers")


def _tokens(encoder: ContextEncoder, context: str, gold: Gold) -> range:
    """Tokens of the first right answer; none of what has no answer."""
    if not gold.texts:
        return range(0)
    start = gold.starts[0]
    return encoder.context(context).tokens_of(start, start + len(gold.texts[0]))


def build(section: Span) -> SpanTask:
    """The task of a recipe's section; nothing is read here.

    Raises:
        UserError: the name is not known, or a key is missing or of no meaning for this task.
    """
    spec = None if is_custom(section) else benchmark(section)
    assert spec is None or isinstance(spec, SpanSpec)
    no_answer = section.no_answer
    if no_answer is None:
        no_answer = spec is not None and spec.no_answer
    if section.null_threshold and not no_answer:
        raise UserError(
            "task.null_threshold: is for questions that may have no answer; remove it, or set"
            " task.no_answer: true"
        )
    splits = splits_of(section)
    if isinstance(splits, LocalSplits):
        readers = {**READERS, ".json": read_squad}
        splits = replace(splits, layout=replace(splits.layout, readers=readers))
    known = section.model_copy(update={"no_answer": no_answer, "metric": section.metric or "f1"})
    return SpanTask(known, QuestionReader(known), splits)
