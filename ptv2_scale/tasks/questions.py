"""Questions with candidates: what is read of a row, and the complaints about what is in it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from ptv2_scale.data.rows import PlacedRow, place_of, require_columns, text_of
from ptv2_scale.runtime.errors import UserError

# Texts with a name each, of which the first is cut where they are too long together.
NamedTexts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Question:
    """A question and its candidates.

    Attributes:
        candidates: the candidates' texts.
        texts: what a model reads for each candidate.
        right: numbers of the right candidates, from 0; None: not known.
        answers: texts that count as right, where an answer is compared as a text.
        group: what the questions have in common whose candidates come in several rows; None: these
            are all candidates.
    """

    candidates: tuple[str, ...]
    texts: tuple[NamedTexts, ...]
    right: frozenset[int] | None
    answers: tuple[str, ...] = ()
    group: Hashable = None


# The questions of a row; UserError names its place where it has none, or one that is no question.
ReadQuestions = Callable[[PlacedRow], list[Question]]


def placed(row: Mapping[str, object], number: int) -> PlacedRow:
    """A row that knows its place: that in its file, or its number from 1."""
    return PlacedRow(row, place_of(row, number))


def filled(row: PlacedRow, column: str) -> str:
    """The text in a column, which is not blank."""
    text = text_of(row, column, 0)
    if not text.strip():
        raise UserError(f"{row.place}, column '{column}': the text is empty.")
    return text


def items(row: PlacedRow, column: str) -> Sequence[object]:
    """The values in a column's list, at least one."""
    require_columns(row, (column,), row.place)
    found = row[column]
    if not isinstance(found, list | tuple) or not found:
        raise UserError(
            f"{row.place}, column '{column}': found {found!r:.60}, expected a list that is not"
            " empty."
        )
    return found


def inner(row: PlacedRow, column: str) -> PlacedRow:
    """The object in a column."""
    require_columns(row, (column,), row.place)
    return _object(row[column], f"{row.place}, {column}")


def inner_rows(row: PlacedRow, column: str) -> list[PlacedRow]:
    """The objects in a column's list, at least one."""
    return [
        _object(one, f"{row.place}, {column}[{number}]")
        for number, one in enumerate(items(row, column))
    ]


def _object(value: object, place: str) -> PlacedRow:
    if not isinstance(value, Mapping):
        raise UserError(f"{place}: found {value!r:.60}, expected an object with keys.")
    return PlacedRow(value, place)


def truth_of(row: PlacedRow, column: str) -> bool | None:
    """Whether a candidate is right, as 0 and 1 or false and true; None: not known.

    Raises:
        UserError: anything else is in the column.
    """
    found = row.get(column)
    if found is None:
        return None
    truth = {"0": False, "false": False, "1": True, "true": True}.get(str(found).casefold())
    if truth is None:
        raise UserError(f"{row.place}: found the label {found!r:.60}, allowed: 0, 1")
    return truth


def right_of(truths: Sequence[bool | None], place: str) -> frozenset[int] | None:
    """The numbers of the right candidates; None where nothing is known of any.

    Raises:
        UserError: some have a label and some have none.
    """
    if all(truth is None for truth in truths):
        return None
    if None in truths:
        number = truths.index(None)
        raise UserError(f"{place}: candidate {number} has no label, and others have one.")
    return frozenset(number for number, truth in enumerate(truths) if truth)
