"""Sentences become examples: each word's sub-words, windows of long ones, the predicate named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ptv2_scale.config import Tagging
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Style, Tokenizer
from ptv2_scale.tasks.sentences import SentenceReader
from ptv2_scale.tasks.subwords import Frame, Subwords, windows
from ptv2_scale.tasks.text import Inputs


class EncodedWindow(NamedTuple):
    """A window of a sentence.

    Attributes:
        inputs: of the backbone.
        first, last: words whose tags are read from it, `last` excluded.
        places: the token of each of them.
    """

    inputs: Inputs
    first: int
    last: int
    places: tuple[int, ...]


class SentenceEncoder:
    """Encodes sentences for one tokenizer.

    Where the tags are about one word, its sub-words stand behind the sentence as a second text, as
    P-Tuning v2's code has it; in the style "named", for models without such pairs, "predicate: WORD
    sentence:" stands in front, where a model that reads from left to right sees it in time.

    Args:
        tokenizer: the backbone's.
        style: how the backbone wants two texts joined.
        max_length: most tokens of a window.
        section: the recipe's.
        reader: of rows.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        style: Style,
        max_length: int,
        section: Tagging,
        reader: SentenceReader,
    ) -> None:
        self._reader, self._section, self._length = reader, section, max_length
        self._leads = reader.has_predicate and style == "named"
        self._frame = Frame.of(tokenizer, reader.has_predicate and not self._leads)
        self._subwords = Subwords(tokenizer)
        self._windowed, self._cut = 0, 0

    def encode(self, rows: Sequence[Mapping[str, object]]) -> Iterator[list[EncodedWindow]]:
        """The windows of each row.

        Raises:
            UserError: a row cannot be read, or `max_length` has no room for a word.
        """
        sentences = [self._sentence(row, number) for number, row in enumerate(rows, start=1)]
        self._subwords.learn([[*lead, *words] for lead, words, _ in sentences])
        return (self._windows(*sentence) for sentence in sentences)

    def _sentence(
        self, row: Mapping[str, object], number: int
    ) -> tuple[list[str], list[str], int | None]:
        """What stands in front, the words, and which of them stands behind."""
        words = self._reader.words(row, number)
        predicate = self._reader.predicate_of(row, number)
        if predicate is None or not self._leads:
            return [], words, predicate
        return ["predicate:", words[predicate], "sentence:"], words, None

    def _windows(
        self, lead: list[str], words: list[str], predicate: int | None
    ) -> list[EncodedWindow]:
        whole = self._subwords.of([*lead, *words])
        front = [token for pieces in whole[: len(lead)] for token in pieces]
        pieces = whole[len(lead) :]
        behind = [] if predicate is None else pieces[predicate]
        room = self._length - self._frame.size - len(front) - len(behind)
        if room < 1:
            raise UserError(
                f"task.max_length: {self._length} leaves no room for a word: special tokens and"
                f" predicate take {self._length - room}. Raise it"
            )
        self._cut += sum(len(one) > room for one in pieces)
        kept = [self._kept(one, room) for one in pieces]
        found = windows([len(one) for one in kept], room, self._section.overlap)
        self._windowed += len(found) > 1
        before = len(self._frame.before) + len(front)
        return [
            EncodedWindow(
                self._frame.around([*front, *_flat(kept[start:end])], behind),
                first,
                last,
                self._places(kept[start:end], before)[first - start : last - start],
            )
            for start, end, first, last in found
        ]

    def _kept(self, pieces: list[int], room: int) -> list[int]:
        return pieces[:room] if self._section.subword == "first" else pieces[-room:]

    def _places(self, pieces: Sequence[Sequence[int]], before: int) -> tuple[int, ...]:
        places = []
        for one in pieces:
            places.append(before if self._section.subword == "first" else before + len(one) - 1)
            before += len(one)
        return tuple(places)

    def warnings(self) -> list[str]:
        """What people should know of what was encoded."""
        said = []
        if self._windowed:
            said.append(
                f"{self._windowed} sentences are longer than {self._length} tokens and were read in"
                " windows (task.max_length, task.overlap); every word is tagged"
            )
        if self._cut:
            said.append(
                f"{self._cut} words are longer than a window of {self._length} tokens and were cut"
            )
        return said


def _flat(pieces: Sequence[Sequence[int]]) -> list[int]:
    return [token for one in pieces for token in one]
