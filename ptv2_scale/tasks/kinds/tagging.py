"""A tag on every word: named entities, semantic roles, and the user's own data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.config import Tagging
from ptv2_scale.data.collate import IGNORED, Example, pad_rows
from ptv2_scale.data.rows import Row, place_of
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
from ptv2_scale.tasks.benchmarks.spec import TaggingSpec
from ptv2_scale.tasks.catalogue import benchmark, is_custom
from ptv2_scale.tasks.entities import (
    entity_scores,
    in_tag_order,
    marks_entities,
    tag_counts,
    word_accuracy,
)
from ptv2_scale.tasks.sentences import SentenceReader, tagged_splits
from ptv2_scale.tasks.submission import refusal
from ptv2_scale.tasks.token_head import TokenHead, token_head
from ptv2_scale.tasks.truth import all_known
from ptv2_scale.tasks.windows import SentenceEncoder

logger = logging.getLogger(__name__)
_SHOWN = 20


@dataclass(frozen=True)
class TaggingTask(RowTask):
    """A `Task` of a tag on every word.

    Attributes:
        section: the recipe's.
        reader: how words and tags are read.
        labels: the tags, in the order of their numbers.
        metric: which one chooses the best checkpoint: f1 or accuracy.
        splits: where the rows are.
    """

    section: Tagging
    reader: SentenceReader
    labels: tuple[str, ...]
    metric: str
    splits: Splits

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Task`: the words, and the predicate's number where the tags are about one."""
        return self.reader.columns

    def resolved(self) -> Tagging:
        """See `Task`."""
        return self.section.model_copy(update={"labels": list(self.labels), "metric": self.metric})

    def describe(self) -> list[str]:
        """See `Task`."""
        more = len(self.labels) - _SHOWN
        shown = ", ".join(self.labels[:_SHOWN])
        return [f"labels: {shown}{f' and {more} more' if more > 0 else ''}"]

    def describe_rows(self, rows: Sequence[Mapping[str, object]]) -> list[str]:
        """See `Task`: how many words have which tag, and how many entities there are."""
        return tag_counts(self._truth(rows), self.labels)

    def check_row(self, row: Mapping[str, object], number: int) -> None:
        """See `Task`."""
        self.reader.words(row, number)
        self.reader.predicate_of(row, number)

    def submission(self, board: Leaderboard, source: Path) -> Submission:
        """See `Task`: none of these benchmarks is on a leaderboard."""
        raise refusal(self.section, board)

    def rows(self, split: Split) -> list[Row]:
        """See `Task`; rows of a test split may lack tags.

        A tag that is none of the task's is a mistake in training; elsewhere it is one that no
        answer can have, so its words count as wrong, and a warning says so.
        """
        wanted = self.columns if split == "test" else (*self.columns, self.reader.names.tags)
        rows = self.splits.rows(split, wanted)
        strange: dict[str, str] = {}
        for number, row in enumerate(rows, start=1):
            self.reader.words(row, number)
            tags = self.reader.tags(row, number, self.section.labels)
            if tags is None and split != "test":
                raise UserError(f"{place_of(row, number)}: no tags in '{self.reader.names.tags}'")
            for word, tag in enumerate(tags or (), start=1):
                if tag not in self._classes:
                    strange.setdefault(tag, f"{place_of(row, number)}, word {word}")
        if strange and split == "train":
            tag, place = next(iter(strange.items()))
            raise UserError(self._unknown(tag, place))
        if strange:
            logger.warning(
                f"{self.place(split)}: tags that training does not have: {_listed(strange)}. Their"
                " words count as wrong"
            )
        return rows

    def _unknown(self, tag: str, place: str) -> str:
        return (
            f"{place}: found the tag '{tag[:60]}', allowed: {', '.join(self.labels)}."
            f"{did_you_mean(tag, self.labels)} task.labels names the tags there are"
        )

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
        """See `Task`: a sentence that is longer than `max_length` becomes several windows.

        Of an example, `source` has the token of each word whose tag is read from it, and `target`
        the numbers of their tags; -100 for a tag that is none of the task's.
        """
        encoder = SentenceEncoder(tokenizer, style, max_length, self.section, self.reader)
        examples = []
        for index, (row, encoded) in enumerate(zip(rows, encoder.encode(rows), strict=True)):
            tags = self.reader.tags(row, index + 1, self.section.labels) if with_targets else None
            for one in encoded:
                own = None if tags is None else tags[one.first : one.last]
                target = None if own is None else [self._classes.get(tag, IGNORED) for tag in own]
                examples.append(Example(index, one.inputs, target, source=one.places))
        for said in encoder.warnings():
            logger.warning(f"{self.name}: {said}")
        return examples

    def longest(self, length: int) -> list[Example]:
        """See `Task`: a sentence no word of which has a tag."""
        return [Example(0, {"input_ids": [0] * length}, source=())]

    def head(self, family: Family, config: Config) -> TokenHead:
        """See `Task`."""
        return token_head(self.section.head, family, config, len(self.labels))

    def targets(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `Task`: `labels` [batch, longest], -100 where no tag is read."""
        longest = max(example.length for example in examples)
        return {"labels": pad_rows([_spread(one) for one in examples], longest, IGNORED)}

    def loss_sum(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of logits [batch, longest, labels], summed over words that have a tag."""
        return functional.cross_entropy(
            outputs.float().flatten(0, 1),
            targets["labels"].flatten(),
            ignore_index=IGNORED,
            reduction="sum",
        )

    def loss_count(self, examples: Sequence[Example]) -> int:
        """Words that have a tag."""
        return sum(tag != IGNORED for one in examples for tag in one.target or ())

    def decode(self, outputs: Tensor, examples: Sequence[Example]) -> list[Record]:
        """See `Task`: `tags` of an example's own words; outputs are [batch, longest, labels]."""
        best: list[list[int]] = outputs.argmax(dim=-1).tolist()
        return [
            {"tags": [self.labels[found[place]] for place in one.source]}
            for found, one in zip(best, examples, strict=True)
        ]

    def combine(self, records: Sequence[Record]) -> Record:
        """See `Task`: windows follow one another, and each word is in one of them."""
        return {"tags": [tag for record in records for tag in record["tags"]]}

    def score(
        self, records: Sequence[Record], rows: Sequence[Mapping[str, object]]
    ) -> dict[str, float]:
        """See `Task`: f1, precision and recall of entities, where tags mark such, and accuracy."""
        truth, predicted = self._truth(rows), [record["tags"] for record in records]
        found = {"accuracy": word_accuracy(truth, predicted)}
        if marks_entities(self.labels):
            found |= entity_scores(truth, predicted)
        return {self.metric: found.pop(self.metric), **dict(sorted(found.items()))}

    def trivial(self, rows: Sequence[Mapping[str, object]]) -> Trivial:
        """See `Task`: the most frequent tag on every word, mostly O, which makes f1 0."""
        truth = self._truth(rows)
        counts = torch.zeros(len(self.labels))
        for tags in truth:
            for tag in tags:
                if tag in self._classes:
                    counts[self._classes[tag]] += 1
        often = self.labels[int(counts.argmax())]
        records: list[Record] = [{"tags": [often] * len(tags)} for tags in truth]
        return Trivial(self.score(records, rows)[self.metric], f"the tag {often} on every word")

    def _truth(self, rows: Sequence[Mapping[str, object]]) -> list[list[str]]:
        found = (
            self.reader.tags(row, number, self.section.labels)
            for number, row in enumerate(rows, start=1)
        )
        return all_known(found, "tags")


def _spread(example: Example) -> list[int]:
    """Targets of an example's tokens."""
    spread = [IGNORED] * example.length
    for place, tag in zip(example.source, example.target or (), strict=False):
        spread[place] = tag
    return spread


def _listed(strange: Mapping[str, str]) -> str:
    shown = [f"{tag} ({place})" for tag, place in list(strange.items())[:5]]
    more = [f"and {len(strange) - 5} more"] if len(strange) > 5 else []
    return ", ".join([*shown, *more])


def build(section: Tagging) -> TaggingTask:
    """The task of a recipe's section.

    Nothing is read here, but the training split where tags are those found in it.

    Raises:
        UserError: the name is not known, or a key is missing or of no meaning for this task.
    """
    spec = None if is_custom(section) else benchmark(section)
    assert spec is None or isinstance(spec, TaggingSpec)
    if section.overlap >= section.max_length:
        raise UserError(
            f"task.overlap: found {section.overlap}, which leaves windows of task.max_length:"
            f" {section.max_length} tokens no new word. Lower it"
        )
    reader, splits = SentenceReader.of(section, spec), tagged_splits(section, spec)
    given = tuple(section.labels or (() if spec is None else spec.labels))
    labels = given or _found(reader, splits)
    metric = section.metric or "f1"
    if metric == "f1" and not marks_entities(labels):
        strange = next(label for label in labels if not marks_entities([label]))
        raise UserError(
            f"task.metric: f1 counts entities, whose tags are O, B-TYPE, I-TYPE and the like; found"
            f" '{strange[:60]}'. Set task.metric: accuracy, or correct the tags"
        )
    return TaggingTask(section, reader, labels, metric, splits)


def _found(reader: SentenceReader, splits: Splits) -> tuple[str, ...]:
    rows = splits.rows("train", (reader.names.tokens, reader.names.tags))
    read = (reader.tags(row, number, None) for number, row in enumerate(rows, start=1))
    found = in_tag_order(tag for tags in read for tag in tags or ())
    if len(found) < 2:
        raise UserError(
            f"{splits.place('train')}: a task needs at least two tags; found: "
            + (", ".join(found) or "none")
        )
    return found
