"""Files of tagged sentences: CoNLL's columns, and P-Tuning v2's lines of words, predicate and tags.

Both become rows of lists, the same that JSON files hold: {"tokens": [...], "tags": [...]}.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ptv2_scale.data.formats import Record, TableFormat, lines
from ptv2_scale.runtime.errors import UserError

DOCUMENT = "-DOCSTART-"  # the word of a line that begins a document and belongs to no sentence
_BLANK = " \t\r\n"  # a word may hold other white space, such as a no-break space
_BETWEEN = "|||"


@dataclass(frozen=True)
class TaggedNames:
    """Names of the columns of a row.

    Attributes:
        tokens: the words of a sentence.
        tags: a tag for each.
        predicate: number of the word, from 0, that the tags are about.
    """

    tokens: str = "tokens"
    tags: str = "tags"
    predicate: str = "index"


@dataclass(frozen=True)
class ColumnReader:
    """Reads files of one word a line, its tag in another column, and a blank line at the end.

    Attributes:
        names: of the rows' columns.
        word, tag: numbers of the columns, from 1, or from -1 backwards.
        comments: leave out lines that begin with #, as those of .conllu files.
    """

    names: TaggedNames = field(default_factory=TaggedNames)
    word: int = 1
    tag: int = -1
    comments: bool = False

    def __call__(self, path: Path, table: TableFormat) -> Iterator[Record]:
        """One row a sentence, by the number of its first line. `table` has no meaning here.

        Where the line of a word has no other column, as in a test file without tags, the row has
        none either.

        Raises:
            UserError: a line has fewer columns than are asked for, or another number of them than
                the one before it.
        """
        sentence: list[list[str]] = []
        first = 0
        for number, line in lines(path):
            if self.comments and line.startswith("#"):
                continue
            if "\r" in line.rstrip("\r\n"):
                raise UserError(
                    f"{path}:{number}: lines end with a carriage return alone. Save the file with"
                    " the line ends of Unix or Windows"
                )
            fields = fields_of(line)
            if not fields or fields[0].startswith(DOCUMENT):
                if sentence:
                    yield first, self._row(sentence)
                sentence = []
                continue
            first = first if sentence else number
            self._check(path, number, fields, sentence)
            sentence.append(fields)
        if sentence:
            yield first, self._row(sentence)

    def _check(self, path: Path, number: int, fields: list[str], before: list[list[str]]) -> None:
        width = len(fields)
        if before and len(before[-1]) != width:
            raise UserError(
                f"{path}:{number}: found {width} columns ('{fields[0][:40]}'), but the line before"
                f" has {len(before[-1])}. Separate columns by tabs or by spaces; where # begins a"
                " comment, set task.comments: true"
            )
        for key, place in (("task.word_column", self.word), ("task.tag_column", self.tag)):
            if abs(place) > width and not (key == "task.tag_column" and width == 1):
                raise UserError(
                    f"{path}:{number}: found {width} columns ('{fields[0][:40]}'), but {key} is"
                    f" {place}"
                )

    def _row(self, sentence: list[list[str]]) -> dict[str, object]:
        row: dict[str, object] = {self.names.tokens: _column(sentence, self.word)}
        if len(sentence[0]) > 1:
            row[self.names.tags] = _column(sentence, self.tag)
        return row


def fields_of(line: str) -> list[str]:
    """Fields between tabs where a line has any, else between spaces."""
    text = line.strip(_BLANK)
    if not text:
        return []
    if "\t" in text:
        return [found.strip(" ") for found in text.split("\t")]
    return [found for found in text.split(" ") if found]


def _column(sentence: list[list[str]], number: int) -> list[str]:
    return [fields[number - 1 if number > 0 else number] for fields in sentence]


@dataclass(frozen=True)
class PredicateReader:
    """Reads the lines that P-Tuning v2's code has for semantic role labelling.

    Such a line is "5 The cat sat ... ||| B-A0 I-A0 B-V ...": the predicate's number from 0, the
    words of the sentence, and a tag for each of them.

    Attributes:
        names: of the rows' columns.
    """

    names: TaggedNames = field(default_factory=TaggedNames)

    def __call__(self, path: Path, table: TableFormat) -> Iterator[Record]:
        """One row a predicate. `table` has no meaning here.

        Raises:
            UserError: a line does not begin with a number.
        """
        for number, line in lines(path):
            if line.strip(_BLANK):
                yield number, self._row(path, number, line)

    def _row(self, path: Path, number: int, line: str) -> dict[str, object]:
        text, between, tags = line.partition(_BETWEEN)
        place, *words = text.split()
        if not place.isdecimal():
            raise UserError(
                f"{path}:{number}: found '{line.strip()[:60]}', expected the predicate's number"
                f" from 0, the words, {_BETWEEN}, and a tag for each word"
            )
        row: dict[str, object] = {self.names.predicate: int(place), self.names.tokens: words}
        return {**row, self.names.tags: tags.split()} if between else row
