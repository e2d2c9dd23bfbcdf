"""Questions with contexts, and the right answers: what is read of a row, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ptv2_scale.config import Span
from ptv2_scale.data.rows import place_of, text_of
from ptv2_scale.runtime.errors import UserError


class Gold(NamedTuple):
    """Right answers to a question; none: it has no answer.

    Attributes:
        texts: of the answers.
        starts: where each begins in the context, in characters.
    """

    texts: tuple[str, ...]
    starts: tuple[int, ...]


@dataclass(frozen=True)
class QuestionReader:
    """Reads a row by the names of a recipe's section."""

    section: Span

    def question(self, row: Mapping[str, object], number: int) -> str:
        """The question, without space in front."""
        return self._text(row, self.section.question, number).lstrip()

    def context(self, row: Mapping[str, object], number: int) -> str:
        """The text that may answer it."""
        return self._text(row, self.section.context, number)

    def _text(self, row: Mapping[str, object], column: str, number: int) -> str:
        text = text_of(row, column, number)
        if not text.strip():
            raise UserError(f"{place_of(row, number)}, column '{column}': the text is empty")
        return text

    def gold(self, row: Mapping[str, object], number: int) -> Gold | None:
        """The right answers; None: not known.

        Raises:
            UserError: they are no lists of texts and of as many numbers.
        """
        found = row.get(self.section.answers)
        if found is None:
            return None
        texts, starts = _lists(found)
        if (
            texts is None
            or starts is None
            or len(texts) != len(starts)
            or not all(isinstance(text, str) for text in texts)
            or not all(type(start) is int and start >= 0 for start in starts)
        ):
            raise UserError(
                f"{self.place(row, number)}, column '{self.section.answers}': found {found!r:.80},"
                ' expected {"text": [TEXT, ...], "answer_start": [CHARACTER, ...]}'
            )
        return Gold(tuple(map(str, texts)), tuple(starts))

    def place(self, row: Mapping[str, object], number: int) -> str:
        """Where a row was read, with its id."""
        named = row.get("id")
        return place_of(row, number) + (f" (id {named})" if named else "")

    def check(self, row: Mapping[str, object], number: int, gold: Gold) -> None:
        """Refuse an answer to be trained on that is not where it is said to be.

        Raises:
            UserError: names the row, and what stands there.
        """
        context = self.context(row, number)
        for text, start in zip(gold.texts[:1], gold.starts[:1], strict=True):
            found = context[start : start + len(text)]
            if not text.strip() or found != text:
                raise UserError(
                    f"{self.place(row, number)}: the answer {text!r:.60} is said to begin at"
                    f" character {start} of the context, where {found!r:.60} stands. Correct the"
                    " row, or leave it out"
                )


def _lists(found: object) -> tuple[list[object] | None, list[int] | None]:
    """Texts and starts of answers, as a pair of lists or as a list of pairs."""
    if isinstance(found, list) and all(isinstance(one, Mapping) for one in found):
        found = {key: [one.get(key) for one in found] for key in ("text", "answer_start")}
    if not isinstance(found, Mapping):
        return None, None
    texts, starts = found.get("text"), found.get("answer_start")
    return (
        texts if isinstance(texts, list) else None,
        starts if isinstance(starts, list) else None,
    )
