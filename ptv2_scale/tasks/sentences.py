"""Rows of words and tags: where they are read from, and what is refused in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ptv2_scale.config import Tagging
from ptv2_scale.data.brackets import Conll2012Reader, PropsReader
from ptv2_scale.data.columns import ColumnReader, PredicateReader, TaggedNames
from ptv2_scale.data.formats import READERS, Reader
from ptv2_scale.data.json_documents import read_json_rows
from ptv2_scale.data.rows import place_of, require_columns
from ptv2_scale.data.splits import LocalSplits, Splits
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.benchmarks.spec import TaggingSpec
from ptv2_scale.tasks.catalogue import splits_of
from ptv2_scale.tasks.labels import MISSING

_PREDICATE = "index"  # the name that P-Tuning v2's code gives it


@dataclass(frozen=True)
class SentenceReader:
    """Reads words, tags and predicate of a row.

    Attributes:
        names: of the columns.
        has_predicate: whether the tags are about one word, whose number is in a column.
    """

    names: TaggedNames
    has_predicate: bool

    @classmethod
    def of(cls, section: Tagging, spec: TaggingSpec | None) -> SentenceReader:
        """The reader of a recipe's task."""
        return cls(_names(section, spec), _predicate(section, spec) is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that a row without tags must have."""
        return (self.names.tokens, *((self.names.predicate,) if self.has_predicate else ()))

    def words(self, row: Mapping[str, object], number: int) -> list[str]:
        """The words of a sentence, one at least.

        Raises:
            UserError: names the row's place.
        """
        place = place_of(row, number)
        require_columns(row, (self.names.tokens,), place)
        words = row[self.names.tokens]
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise UserError(
                f"{place}, column '{self.names.tokens}': found {words!r:.60}, expected a list of"
                " words"
            )
        if not words:
            raise UserError(f"{place}: a sentence without words. Leave it out")
        return words

    def predicate_of(self, row: Mapping[str, object], number: int) -> int | None:
        """Number of the word that the tags are about; None: the task has none such.

        Raises:
            UserError: there is no word of that number.
        """
        if not self.has_predicate:
            return None
        place, name = place_of(row, number), self.names.predicate
        require_columns(row, (name,), place)
        value, words = row[name], self.words(row, number)
        found = int(value) if isinstance(value, str) and value.isdecimal() else value
        if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < len(words):
            raise UserError(
                f"{place}, column '{name}': found {value!r:.60}, expected the number of one of the"
                f" {len(words)} words, counted from 0"
            )
        return found

    def tags(
        self, row: Mapping[str, object], number: int, labels: Sequence[str] | None
    ) -> list[str] | None:
        """The tag of each word; None where the row has none.

        Args:
            row: of a data set.
            number: its number from 1, for messages about rows made in Python.
            labels: names of tags that are written as numbers.

        Raises:
            UserError: there are more or fewer tags than words, or one can be no tag.
        """
        found = row.get(self.names.tags)
        if found is None:
            return None
        place, words = place_of(row, number), self.words(row, number)
        if not isinstance(found, list):
            raise UserError(
                f"{place}, column '{self.names.tags}': found {found!r:.60}, expected a list of tags"
            )
        if len(found) != len(words):
            raise UserError(f"{place}: found {len(words)} words and {len(found)} tags")
        return [self._tag(tag, f"{place}, word {n}", labels) for n, tag in enumerate(found, 1)]

    def _tag(self, tag: object, place: str, labels: Sequence[str] | None) -> str:
        if isinstance(tag, str) and tag.strip():
            text = tag.strip()
            if text.casefold() in MISSING and text not in (labels or ()):
                raise UserError(
                    f"{place}: found '{text}', which programs write where a tag is missing. If it"
                    " is a tag, name all tags in task.labels"
                )
            return text
        if isinstance(tag, int) and not isinstance(tag, bool):
            if labels is None:
                raise UserError(
                    f"{place}: the tag is the number {tag}. Name the tags in the order of their"
                    " numbers in task.labels"
                )
            if 0 <= tag < len(labels):
                return labels[tag]
        raise UserError(f"{place}: found {tag!r:.60}, which is no tag")


def tagged_splits(section: Tagging, spec: TaggingSpec | None) -> Splits:
    """Where a recipe's task reads its rows, text files by its layout; nothing is read here.

    Raises:
        UserError: see `splits_of`.
    """
    splits = splits_of(section)
    if not isinstance(splits, LocalSplits):
        return splits
    readers = {**READERS, ".json": read_json_rows, "": _text_reader(section, spec)}
    return replace(splits, layout=replace(splits.layout, readers=readers))


def _text_reader(section: Tagging, spec: TaggingSpec | None) -> Reader:
    names = _names(section, spec)
    layout = section.layout or (spec and spec.layout)
    if layout == "conll2012":
        return Conll2012Reader(names, roles=_predicate(section, spec) is not None)
    if layout == "props":
        return PropsReader(names)
    if layout == "predicates":
        return PredicateReader(names)
    word = section.word_column or (spec.word_column if spec else 1)
    tag = section.tag_column or (spec.tag_column if spec else -1)
    return ColumnReader(names, word, tag, section.comments)


def _names(section: Tagging, spec: TaggingSpec | None) -> TaggedNames:
    tags = section.tags or (spec.tags if spec else "tags")
    return TaggedNames(section.tokens, tags, _predicate(section, spec) or _PREDICATE)


def _predicate(section: Tagging, spec: TaggingSpec | None) -> str | None:
    of_layout = _PREDICATE if section.layout in ("predicates", "props") else None
    return section.predicate or (spec.predicate if spec else of_layout)
