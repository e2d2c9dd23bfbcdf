"""Files in which brackets mark spans over words: CoNLL-2005's props and CoNLL-2012's _conll files.

A column of "(A0*", "*", "*)" begins, goes on with and ends a span; each predicate of a sentence has
a column of its own. Both files become rows of lists, as `ptv2_scale.data.columns` makes them, with
tags of IOB2, one row a predicate. (Carreras and Marquez, CoNLL 2005; Pradhan et al., CoNLL 2012.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, zip_longest
from pathlib import Path
from typing import NamedTuple

from ptv2_scale.data.columns import TaggedNames, fields_of
from ptv2_scale.data.formats import Record, TableFormat, lines
from ptv2_scale.runtime.errors import UserError

_SPAN = re.compile(r"(?:\(([^()*\s]+))?(\*?\)|\*)")
_PART = re.compile(r"#(begin|end) document")
# Of a _conll file, counted from 0; predicates' columns end before the last, which has coreference.
_WORD, _ENTITIES, _PREDICATES = 3, 10, 11


class _Line(NamedTuple):
    number: int
    fields: list[str]


_Sentence = list[_Line]


def tags_of(brackets: Sequence[str]) -> list[str]:
    """A column of brackets as tags of IOB2.

    Args:
        brackets: one a word, such as "(A0*", "*", "*)", "(V*)" or "(GPE)".

    Raises:
        ValueError: says which word's bracket is none, or is inside of another's span.
    """
    tags: list[str] = []
    inside: str | None = None
    for number, text in enumerate(brackets, start=1):
        found = _SPAN.fullmatch(text)
        if found is None:
            raise ValueError(f"word {number}: found '{text:.40}', expected '*' or '(TYPE*'")
        begun, mark = found.groups()
        if begun and inside:
            raise ValueError(f"word {number}: '{text:.40}' begins inside of the span of {inside}")
        kind = begun or inside
        if kind is None and mark.endswith(")"):
            raise ValueError(f"word {number}: '{text:.40}' ends a span that has not begun")
        tags.append("O" if kind is None else f"{'B' if begun else 'I'}-{kind}")
        inside = None if mark.endswith(")") else kind
    if inside:
        raise ValueError(f"the span of {inside} does not end")
    return tags


@dataclass(frozen=True)
class PropsReader:
    """Reads CoNLL-2005's files of words and of props, apart or pasted side by side.

    A line of props has the predicate's lemma, or "-", and a column of brackets for each predicate
    of the sentence, in their order. The words of a file with "props" in its name are in the one
    with "words" there; any other file has them in its first column.

    Attributes:
        names: of the rows' columns.
    """

    names: TaggedNames = field(default_factory=TaggedNames)

    def __call__(self, path: Path, table: TableFormat) -> Iterator[Record]:
        """One row a predicate, by its line. `table` has no meaning here.

        Raises:
            UserError: files, lines or brackets do not go together.
        """
        found = _pasted(words_of(path), path) if "props" in path.name else _parted(path)
        for sentence in _sentences(path, found):
            predicates = [at for at, line in enumerate(sentence) if line.fields[1] != "-"]
            columns = len(sentence[0].fields) - 2
            if len(predicates) != columns:
                raise UserError(
                    f"{path}:{sentence[0].number}: a sentence with {len(predicates)} predicates and"
                    f" {columns} columns of brackets. Expected a word, the predicate's lemma or"
                    " '-', and a column for each predicate"
                )
            for column, predicate in enumerate(predicates, start=2):
                tags = _column(path, sentence, column)
                yield sentence[predicate].number, _row(self.names, sentence, 0, tags, predicate)


@dataclass(frozen=True)
class Conll2012Reader:
    """Reads CoNLL-2012's _conll files: roles of predicates, or named entities.

    Attributes:
        names: of the rows' columns.
        roles: one row a predicate with its roles, by the word that is tagged V; else one row a
            sentence with its entities.
    """

    names: TaggedNames = field(default_factory=TaggedNames)
    roles: bool = True

    def __call__(self, path: Path, table: TableFormat) -> Iterator[Record]:
        """Rows, by the line of their predicate or first word. `table` has no meaning here.

        Raises:
            UserError: lines or brackets do not go together.
        """
        for sentence in _sentences(path, _parted(path)):
            first, width = sentence[0].number, len(sentence[0].fields)
            if width <= _PREDICATES:
                raise UserError(
                    f"{path}:{first}: found {width} columns, expected the {_PREDICATES} of a _conll"
                    " file, one for each predicate, and coreference"
                )
            for column in range(_PREDICATES, width - 1) if self.roles else (_ENTITIES,):
                tags = _column(path, sentence, column)
                predicate = _predicate(path, sentence, column, tags) if self.roles else None
                place = first if predicate is None else sentence[predicate].number
                yield place, _row(self.names, sentence, _WORD, tags, predicate)


def words_of(props: Path) -> Path:
    """The file of words that belongs to a file of props: beside it, or in the folder "words"."""
    folder = props.parent
    folder = folder.with_name("words") if folder.name == "props" else folder
    return folder / props.name.replace("props", "words")


def _parted(path: Path) -> Iterator[_Line]:
    for number, line in lines(path):
        if not _PART.match(line):
            yield _Line(number, fields_of(line))


def _pasted(words: Path, props: Path) -> Iterator[_Line]:
    """Lines of props behind their words; there may be other columns behind a word."""
    if not words.is_file():
        raise UserError(
            f"{props}: its words are looked for in {words}, which is not there. Put that file"
            " there, or paste words and props into one file of another name"
        )
    for left, right in zip_longest(_parted(words), _parted(props), fillvalue=_Line(0, [])):
        if bool(left.fields) != bool(right.fields):
            raise UserError(
                f"{props}:{right.number or left.number}: a word here or in {words}, and none in the"
                " other. Both have a line a word, and blank lines behind the same sentences"
            )
        yield _Line(right.number, [*left.fields[:1], *right.fields])


def _sentences(path: Path, found: Iterator[_Line]) -> Iterator[_Sentence]:
    for words, group in groupby(found, lambda line: bool(line.fields)):
        if words:
            sentence = list(group)
            _check_width(path, sentence)
            yield sentence


def _check_width(path: Path, sentence: _Sentence) -> None:
    width = len(sentence[0].fields)
    for number, fields in sentence:
        if len(fields) != width or width < 2:
            raise UserError(
                f"{path}:{number}: found {len(fields)} columns ('{fields[0]:.40}'), expected"
                f" {max(width, 2)}, as in the sentence's first line"
            )


def _column(path: Path, sentence: _Sentence, column: int) -> list[str]:
    try:
        return tags_of([line.fields[column] for line in sentence])
    except ValueError as error:
        raise UserError(
            f"{path}:{sentence[0].number}: column {column + 1} of this sentence, {error}"
        ) from None


def _predicate(path: Path, sentence: _Sentence, column: int, tags: list[str]) -> int:
    if "B-V" not in tags:
        raise UserError(
            f"{path}:{sentence[0].number}: column {column + 1} of this sentence has no (V*), so"
            " that nothing says which word its roles belong to"
        )
    return tags.index("B-V")


def _row(
    names: TaggedNames, sentence: _Sentence, word: int, tags: list[str], predicate: int | None
) -> dict[str, object]:
    row: dict[str, object] = {names.tokens: [line.fields[word] for line in sentence]}
    if predicate is not None:
        row[names.predicate] = predicate
    return {**row, names.tags: tags}
