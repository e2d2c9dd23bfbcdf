"""Rows of a data set, which know where they were read: complaints name file and line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ptv2_scale.runtime.errors import UserError, did_you_mean

Row = dict[str, object]


class PlacedRow(Row):
    """A row that was read from somewhere.

    Attributes:
        place: "train.jsonl:12", for messages.
    """

    __slots__ = ("place",)

    def __init__(self, values: Mapping[str, object], place: str) -> None:
        super().__init__(values)
        self.place = place


def given_rows(rows: object, columns: Sequence[str]) -> list[Mapping[str, object]]:
    """Rows that a caller made in Python.

    Args:
        rows: what was given.
        columns: that a row has, for the message.

    Raises:
        UserError: they are no rows.
    """
    expected = f"such as {{'{columns[0]}': '...'}}"
    if not isinstance(rows, Iterable):
        raise UserError(f"rows: found {rows!r:.60}, expected a list of mappings, {expected}.")
    found = list(rows)
    for number, row in enumerate(found, start=1):
        if not isinstance(row, Mapping):
            raise UserError(
                f"row {number}: found {row!r:.60}, expected a mapping of columns, {expected}."
            )
    return found


SEPARATORS = " Separate fields by commas in .csv, by tabs in .tsv."


def place_of(row: Mapping[str, object], number: int) -> str:
    """Where a row was read; for one made in Python, its number from 1 among those at hand."""
    return row.place if isinstance(row, PlacedRow) else f"row {number}"


def require_columns(row: Mapping[str, object], columns: tuple[str, ...], place: str) -> None:
    """Refuse a row that lacks a column.

    Raises:
        UserError: names the place, and the columns there are.
    """
    for name in columns:
        if name not in row:
            found = [str(one) for one in row]
            raise UserError(
                f"{place}: no column '{name}'; found: {', '.join(found)}."
                + (SEPARATORS if is_unparted(found) else did_you_mean(name, found))
            )


def is_unparted(names: Sequence[str]) -> bool:
    """Whether a table has one column with others in its name: some programs write semicolons."""
    return len(names) == 1 and re.search(r"[;,\t|]", names[0]) is not None


def text_of(row: Mapping[str, object], column: str, number: int) -> str:
    """The text in a column.

    Raises:
        UserError: there is no such column, or something else is in it; names the row's place.
    """
    place = place_of(row, number)
    require_columns(row, (column,), place)
    value = row[column]
    if not isinstance(value, str):
        raise UserError(f"{place}, column '{column}': found {value!r:.60}, expected text.")
    return value
