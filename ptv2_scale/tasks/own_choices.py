"""Rows with candidates of the user's own: which columns are read, and what is wrong in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ptv2_scale.config import Choice
from ptv2_scale.data.rows import PlacedRow
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.labels import canonical
from ptv2_scale.tasks.questions import NamedTexts, Question, filled, items


@dataclass(frozen=True)
class OwnChoices:
    """Reads the question of a row, a `ReadQuestions`.

    Attributes:
        context, question: columns of the texts before a candidate; None: there is none.
        candidates: the column of their list, or one column each.
        answer: column of the right ones: a number from 0, a text, or a list of these.
        choose: how many are right; see `CHOOSING`.
    """

    context: str | None
    question: str | None
    candidates: tuple[str, ...]
    answer: str
    choose: str

    @classmethod
    def of(cls, section: Choice) -> OwnChoices:
        """What a recipe's section says."""
        assert section.candidates is not None  # the recipe's own rule
        assert section.answer is not None
        return cls(
            section.context,
            section.question,
            tuple(section.candidates),
            section.answer,
            section.choose or "one",
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, without the answer's."""
        return (*filter(None, (self.context, self.question)), *self.candidates)

    def __call__(self, row: PlacedRow) -> list[Question]:
        """See `ReadQuestions`."""
        candidates = self._candidates(row)
        before = [(name, filled(row, name)) for name in (self.context, self.question) if name]
        texts: tuple[NamedTexts, ...] = tuple((*before, ("choice", one)) for one in candidates)
        return [Question(candidates, texts, self._right(row, candidates))]

    def _candidates(self, row: PlacedRow) -> tuple[str, ...]:
        if len(self.candidates) > 1:
            return tuple(filled(row, column) for column in self.candidates)
        (column,) = self.candidates
        found = items(row, column)
        inside = {f"{column}[{number}]": one for number, one in enumerate(found)}
        texts = tuple(filled(PlacedRow(inside, row.place), name) for name in inside)
        if self.choose == "one" and len(texts) < 2:
            raise UserError(
                f"{row.place}, column '{column}': found one candidate, expected two or more to"
                " choose from."
            )
        return texts

    def _right(self, row: PlacedRow, candidates: tuple[str, ...]) -> frozenset[int] | None:
        given = row.get(self.answer)
        if given is None or given == "" or given != given:  # NaN alone is not itself
            return None
        listed = given if isinstance(given, list | tuple) else [given]
        right = frozenset(self._number(one, row, candidates) for one in listed)
        if (self.choose == "one" and len(right) != 1) or (self.choose == "best" and not right):
            wanted = "one" if self.choose == "one" else "one at least"
            raise UserError(
                f"{self._where(row)}: found {len(right)} right candidates, expected {wanted}"
                f" (task.choose: {self.choose})."
            )
        return right

    def _number(self, given: object, row: PlacedRow, candidates: Sequence[str]) -> int:
        numbers = self._by_text(given, row, candidates)
        # pandas writes whole numbers as 1.0 in a column that has gaps.
        digits = canonical(str(given)) if isinstance(given, int | float | str) else ""
        if not isinstance(given, bool) and digits.isdecimal() and int(digits) < len(candidates):
            numbers |= {int(digits)}
        if len(numbers) == 1:
            return min(numbers)
        if numbers:
            raise UserError(
                f"{self._where(row)}: found {given!r:.60}, which is a candidate's number and"
                " another's text. Write numbers without quotes, in a .jsonl file."
            )
        raise UserError(
            f"{self._where(row)}: found {given!r:.60}, which is none of the candidates; expected a"
            f" number from 0 to {len(candidates) - 1}, the text of one, or a list of these."
        )

    def _by_text(self, given: object, row: PlacedRow, candidates: Sequence[str]) -> set[int]:
        numbers = {number for number, one in enumerate(candidates) if one == given}
        if len(numbers) > 1:
            raise UserError(
                f"{self._where(row)}: found {given!r:.60}, which several candidates are; give the"
                " number of the right one, from 0."
            )
        return numbers

    def _where(self, row: PlacedRow) -> str:
        return f"{row.place}, column '{self.answer}'"
