"""Choosing among candidates: SuperGLUE's COPA, MultiRC and ReCoRD, and the user's own data.

Every candidate is read behind its question, and the head gives it one score. Where one of them is
right, a question is one example of several sequences, and the loss is a softmax's over their
scores; else each candidate is an example, which is right or not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from math import inf
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.config import Choice
from ptv2_scale.data.collate import IGNORED, Example, by_example
from ptv2_scale.data.rows import PlacedRow, Row, place_of
from ptv2_scale.data.splits import Split, Splits
from ptv2_scale.runtime.errors import UserError, did_you_mean
from ptv2_scale.tasks.base import (
    Leaderboard,
    Record,
    RowTask,
    Style,
    Submission,
    Tokenizer,
    Trivial,
)
from ptv2_scale.tasks.benchmarks.spec import ChoiceSpec
from ptv2_scale.tasks.catalogue import benchmark, is_custom, splits_of
from ptv2_scale.tasks.choosing import CHOOSING, Choosing
from ptv2_scale.tasks.fitting import fit
from ptv2_scale.tasks.heads import Head, build_head, head_dropout, head_kind
from ptv2_scale.tasks.own_choices import OwnChoices
from ptv2_scale.tasks.questions import Question, ReadQuestions, placed
from ptv2_scale.tasks.submission import official_file
from ptv2_scale.tasks.text import Inputs, token_count

logger = logging.getLogger(__name__)
# Of a question whose candidates compete: COPA's, and what is taken for one's own data.
_CANDIDATES, _OWN_CANDIDATES = 2, 4


@dataclass(frozen=True)
class Asked:
    """The candidates of an example: its `source`.

    Attributes:
        question: number of the question among those of its row.
        candidates: their texts.
    """

    question: int
    candidates: tuple[str, ...]


@dataclass(frozen=True)
class ChoiceTask(RowTask):
    """A `Task` of choosing among the candidates that each row brings.

    Attributes:
        section: the recipe's.
        reader: the questions of a row.
        several: a row may have several questions; its record then lists theirs.
        choosing: how the right candidates are found.
        columns: see `Task`.
        splits: where the rows are.
    """

    section: Choice
    reader: ReadQuestions
    several: bool
    choosing: Choosing
    columns: tuple[str, ...]
    splits: Splits

    labels: tuple[str, ...] = ()

    @property
    def metric(self) -> str:
        """See `Task`."""
        return self.section.metric or self.choosing.METRICS[0]

    def resolved(self) -> Choice:
        """See `Task`: with the metric."""
        return self.section.model_copy(update={"metric": self.metric})

    def describe(self) -> list[str]:
        """See `Task`."""
        if self.choosing.TOGETHER:
            return ["one candidate of each question is right: a softmax over its candidates"]
        return ["each candidate is judged by itself"]

    def describe_rows(self, rows: Sequence[Mapping[str, object]]) -> list[str]:
        """See `Task`: how many questions and candidates there are, and how many are right."""
        questions = self._questions(rows)
        sizes = [len(one.candidates) for one in questions]
        right = sum(len(one.right or ()) for one in questions)
        twice = sum(len(set(one.candidates)) < len(one.candidates) for one in questions)
        doubts = [f"warning: {twice} questions have a candidate twice"] if twice else []
        return [
            f"{len(questions)} questions with {min(sizes)} to {max(sizes)} candidates each:"
            f" {sum(sizes)} candidates, {right} of them right",
            *doubts,
        ]

    def rows(self, split: Split) -> list[Row]:
        """See `Task`; questions of a test split may lack their answers."""
        rows = self.splits.rows(split, ())
        for number, row in enumerate(rows, start=1):
            for question in self._questions_of(row, number):
                if question.right is None and split != "test":
                    raise UserError(
                        f"{place_of(row, number)}: nothing says which candidate is right."
                    )
        return rows

    def check_row(self, row: Mapping[str, object], number: int) -> None:
        """See `Task`."""
        self._questions_of(self._unanswered(row, number), number)

    def submission(self, board: Leaderboard, source: Path) -> Submission:
        """See `Task`: in the form of the benchmark."""
        file = official_file(self.section, board, source)
        spec = benchmark(self.section)
        assert isinstance(spec, ChoiceSpec)
        submit = spec.submit
        rows = self.splits.layout.read(source, ("idx",))
        known = [placed(row, number) for number, row in enumerate(rows, start=1)]
        self._questions(known)

        def lines(records: Sequence[Record]) -> list[str]:
            pairs = zip(known, records, strict=True)
            return [json.dumps(line) for row, record in pairs for line in submit(row, record)]

        return Submission(file, rows, lines)

    def _unanswered(self, row: Mapping[str, object], number: int) -> Row:
        """A row as it is to be predicted: what stands in place of an answer is not read."""
        column = self.section.answer or "label"
        rest = {name: value for name, value in row.items() if name != column}
        return PlacedRow(rest, place_of(row, number))

    def _questions_of(self, row: Mapping[str, object], number: int) -> list[Question]:
        return self.reader(placed(row, number))

    def _questions(self, rows: Sequence[Mapping[str, object]]) -> list[Question]:
        return [
            one
            for number, row in enumerate(rows, start=1)
            for one in self._questions_of(row, number)
        ]

    def encode(
        self,
        rows: Sequence[Mapping[str, object]],
        tokenizer: Tokenizer,
        style: Style,
        max_length: int,
        with_targets: bool = True,
    ) -> list[Example]:
        """See `Task`: a question is one example, or each of its candidates is."""
        if not with_targets:
            rows = [self._unanswered(row, number) for number, row in enumerate(rows, start=1)]
        asked = [
            (place, number, question)
            for place, row in enumerate(rows)
            for number, question in enumerate(self._questions_of(row, place + 1))
        ]
        texts = [parts for _, _, question in asked for parts in question.texts]
        places = [place for place, _, question in asked for _ in question.texts]

        def called(number: int) -> str:
            return place_of(rows[places[number - 1]], places[number - 1] + 1)

        inputs, cut = fit(texts, tokenizer, style, max_length, called)
        if cut:
            logger.warning(
                f"{self.name}: {cut} of {len(texts)} texts are longer than {max_length} tokens:"
                f" their {texts[0][0][0]} was cut (task.max_length)"
            )
        rest = iter(inputs)
        return [
            example
            for place, number, question in asked
            for example in self._examples(
                Example(place, {}, source=Asked(number, question.candidates)),
                list(islice(rest, len(question.texts))),
                question.right if with_targets else None,
            )
        ]

    def _examples(
        self, bare: Example, inputs: list[Inputs], right: frozenset[int] | None
    ) -> Iterator[Example]:
        """The examples of a question, from one that has its row and its source."""
        asked = bare.source
        if self.choosing.TOGETHER:
            target = None if right is None else min(right)
            sizes = tuple(map(token_count, inputs))
            yield replace(bare, inputs=_joined(inputs), target=target, sequences=sizes)
            return
        for number, found in enumerate(inputs):
            target = None if right is None else int(number in right)
            one = Asked(asked.question, (asked.candidates[number],))
            yield replace(bare, inputs=found, target=target, source=one)

    def longest(self, length: int) -> list[Example]:
        """See `Task`: where candidates compete, all of a question's are one example."""
        if not self.choosing.TOGETHER:
            return super().longest(length)
        count = _OWN_CANDIDATES if is_custom(self.section) else _CANDIDATES
        inputs = {"input_ids": [0] * length * count}
        return [Example(0, inputs, sequences=(length,) * count)]

    def head(self, family: Family, config: Config) -> Head:
        """See `Task`: one score a sequence, [sequences, 1]."""
        kind = head_kind(self.section.head, family)
        return build_head(kind, family.width(config), 1, head_dropout(config, kind), family.pool)

    def targets(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `Task`: `labels` and `sizes`, candidates of each example, both [batch]."""
        labels = [IGNORED if one.target is None else one.target for one in examples]
        sizes = [len(one.sequences) or 1 for one in examples]
        return {"labels": torch.tensor(labels), "sizes": torch.tensor(sizes)}

    def loss_sum(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of a question's, or of a candidate's, scores [sequences, 1], summed."""
        scores, labels = outputs.float().squeeze(1), targets["labels"]
        if not self.choosing.TOGETHER:
            known = labels != IGNORED
            truth = labels[known].float()
            return functional.binary_cross_entropy_with_logits(
                scores[known], truth, reduction="sum"
            )
        questions = scores.split(targets["sizes"].tolist())
        padded = pad_sequence(list(questions), batch_first=True, padding_value=-inf)
        return functional.cross_entropy(padded, labels, ignore_index=IGNORED, reduction="sum")

    def decode(self, outputs: Tensor, examples: Sequence[Example]) -> list[Record]:
        """See `Task`: the question's number, and the example's candidates with probabilities."""
        scores = by_example(list(outputs.float().cpu().squeeze(1)), examples)
        return [
            {
                "question": example.source.question,
                "candidates": list(example.source.candidates),
                "probabilities": self._probabilities(torch.stack(found)),
            }
            for example, found in zip(examples, scores, strict=True)
        ]

    def _probabilities(self, scores: Tensor) -> list[float]:
        found = scores.softmax(dim=0) if self.choosing.TOGETHER else scores.sigmoid()
        return [float(one) for one in found]

    def combine(self, records: Sequence[Record]) -> Record:
        """See `Task`: the answer; of a benchmark's rows `questions`, a list of answers."""
        answers = []
        for _, group in groupby(records, key=lambda record: int(record["question"])):
            parts = list(group)
            candidates = [one for part in parts for one in part["candidates"]]
            probabilities = [one for part in parts for one in part["probabilities"]]
            answers.append(self.choosing.answer(candidates, probabilities))
        if self.several:
            return {"questions": answers}
        (answer,) = answers
        return answer

    def score(
        self, records: Sequence[Record], rows: Sequence[Mapping[str, object]]
    ) -> dict[str, float]:
        """See `Task`."""
        answers = [one for record in records for one in record.get("questions", [record])]
        found = self.choosing.score(self._known(rows), answers)
        return {self.metric: found[self.metric], **found}

    def trivial(self, rows: Sequence[Mapping[str, object]]) -> Trivial:
        """See `Task`."""
        return self.choosing.trivial(self._known(rows), self.metric)

    def _known(self, rows: Sequence[Mapping[str, object]]) -> list[Question]:
        questions = self._questions(rows)
        if any(one.right is None for one in questions):
            raise UserError(
                "these rows do not say which candidates are right (a published test split?):"
                " nothing to compare"
            )
        return questions


def _joined(inputs: Sequence[Inputs]) -> Inputs:
    """Sequences behind one another."""
    return {name: [number for one in inputs for number in one[name]] for name in inputs[0]}


def build(section: Choice) -> ChoiceTask:
    """The task of a recipe's section; nothing is read here.

    Raises:
        UserError: the name is not known, or the metric is none of this way of choosing.
    """
    if is_custom(section):
        own = OwnChoices.of(section)
        return _task(section, own, own.columns, own.choose)
    spec = benchmark(section)
    assert isinstance(spec, ChoiceSpec)
    return _task(section, spec.read, spec.columns, spec.choose, spec.several)


def _task(
    section: Choice,
    read: ReadQuestions,
    columns: tuple[str, ...],
    choose: str,
    several: bool = False,
) -> ChoiceTask:
    choosing = CHOOSING[choose]
    if section.metric is not None and section.metric not in choosing.METRICS:
        allowed = ", ".join(choosing.METRICS)
        raise UserError(
            f"task.metric: found '{section.metric}', allowed for {section.name} where task.choose"
            f" is {choose}: {allowed}." + did_you_mean(section.metric, choosing.METRICS)
        )
    return ChoiceTask(section, read, several, choosing, columns, splits_of(section))
