"""Labels: which values are classes, in which order, and what looks wrong in those found."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from numbers import Integral, Real

from ptv2_scale.data.rows import place_of
from ptv2_scale.runtime.errors import UserError

# What programs write where a value is missing; pandas reads all of them as missing, too.
MISSING = frozenset({"", "nan", "null", "none", "na", "n/a", "<na>", "#n/a", "#na", "nat"})
_MANY = 10
_FEW_ROWS = 5  # for each class
_SHOWN = 20
# As long as Python's 64-bit numbers at most: reading longer ones takes the square of their length.
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]{0,17}))(?:\.0*)?")
_SCORE = re.compile(r"[-+]?(?:[0-9]*\.[0-9]+|[0-9]+\.|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")


@dataclass(frozen=True)
class LabelReader:
    """Reads the label of a row.

    Attributes:
        column: the column it is in.
        aliases: other names of labels, such as the hub's, and the published label each stands for.
        given: the labels that the recipe names; none: any value that can be a class is one.
    """

    column: str = "label"
    aliases: Mapping[str, str] = field(default_factory=dict)
    given: tuple[str, ...] = ()

    def read(self, row: Mapping[str, object], number: int) -> str | None:
        """The label as text; None where it is missing.

        Args:
            row: of a data set.
            number: its number from 1, for the message about a row made in Python.

        Raises:
            UserError: the value can be no class; names file and line.
        """
        text = self._text(row, number)
        if text is None:
            return None
        text = canonical(self.aliases.get(text, text))
        if text in self._given:
            return self._given[text]
        if text.casefold() in MISSING:
            return None
        if not self.given and _SCORE.fullmatch(text):
            raise UserError(
                f"{self._where(row, number)}: found {text[:60]}, which looks like a score and not"
                " like a class. If it is one, name all classes in task.labels"
            )
        return text

    @cached_property
    def _given(self) -> dict[str, str]:
        return {canonical(label): label for label in self.given}

    def _text(self, row: Mapping[str, object], number: int) -> str | None:
        value = row.get(self.column)
        if value is None or value != value:  # NaN alone is not itself
            return None
        text = _as_text(value)
        if text is None:
            raise UserError(
                f"{self._where(row, number)}: found {value!r:.60} ({type(value).__name__}), which"
                " is no label; expected text, a whole number, or true or false"
            )
        return text

    def _where(self, row: Mapping[str, object], number: int) -> str:
        return f"{place_of(row, number)}, column '{self.column}'"


def _as_text(value: object) -> str | None:
    """A value as a class's name; None: it can be none."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Integral | Decimal):
        return str(value)
    if isinstance(value, Real) and math.isfinite(value):
        return repr(float(value))
    return None


def canonical(label: str) -> str:
    """The one way in which a label is written: no space around it, 1.0 as 1."""
    text = label.strip()
    whole = _WHOLE.fullmatch(text)
    if whole is None:
        return text
    return "0" if whole[1] == "-0" else whole[1]


def other_labels(
    rows: Sequence[Mapping[str, object]], reader: LabelReader, known: Collection[str]
) -> list[str]:
    """Labels of rows that are none of the `known` ones, the first of each."""
    found: dict[str, None] = {}
    for number, row in enumerate(rows, start=1):
        try:
            label = reader.read(row, number)
        except UserError:  # a score, a list: certainly none of them
            label = str(row[reader.column])
        if label is not None and label not in known:
            found[label[:60]] = None
    return list(found)


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels in the order of their numbers: whole numbers by value, then words by the alphabet."""
    return tuple(sorted(labels, key=_place))


def _place(label: str) -> tuple[bool, int, str]:
    number = _WHOLE.fullmatch(label)
    return (number is None, 0 if number is None else int(number[1]), label)


def label_counts(counts: Mapping[str, int], labels: Sequence[str]) -> list[str]:
    """Lines that tell people how often each class occurs, and what looks wrong.

    Args:
        counts: rows of each class.
        labels: all classes, in their order.
    """
    shown = [f"{_short(label)} {counts.get(label, 0)}" for label in labels[:_SHOWN]]
    more = [f"and {len(labels) - _SHOWN} more"] if len(labels) > _SHOWN else []
    rows = sum(counts.values())
    found = f"{rows} rows of {len(labels)} classes: {', '.join([*shown, *more])}"
    return [found, *(f"warning: {text}" for text in _doubts(counts, labels, rows))]


def _doubts(counts: Mapping[str, int], labels: Sequence[str], rows: int) -> list[str]:
    doubts = []
    if len(labels) > _MANY and rows < _FEW_ROWS * len(labels):
        doubts.append(
            f"{len(labels)} classes in {rows} rows are many: is task.label the column of the"
            " classes? task.labels names the classes there are"
        )
    rare = [label for label in labels if counts.get(label, 0) <= max(1, rows / len(labels) / 20)]
    if rare:
        doubts.append(
            f"few rows or none of: {_listed(rare)}. Where one is a slip, correct it;"
            " task.labels names the classes there are"
        )
    doubts += [
        f"{' and '.join(map(repr, map(_short, same)))} differ in case, spaces or form alone."
        " Where they are one class, correct the rows; task.labels names the classes there are"
        for same in _near_equal(labels)
    ]
    return doubts


def _near_equal(labels: Sequence[str]) -> list[list[str]]:
    alike: dict[str, list[str]] = {}
    for label in labels:
        alike.setdefault(_form(label), []).append(label)
    return [same for same in alike.values() if len(same) > 1]


def _form(label: str) -> str:
    """What labels have in common that people would take for the same."""
    text = unicodedata.normalize("NFKC", label).casefold()
    number = re.fullmatch(r"\+?(-?)0*([0-9]+)", text)
    if number:
        return number[1] + number[2]
    return re.sub(r"[\W_]+", "", text) or text if re.search(r"[^\W\d_]{2}", text) else text


def _listed(labels: Sequence[str]) -> str:
    more = [f"and {len(labels) - 5} more"] if len(labels) > 5 else []
    return ", ".join([*map(_short, labels[:5]), *more])


def _short(label: str) -> str:
    return label if len(label) <= 40 else f"{label[:37]}..."


def found_labels(
    rows: Sequence[Mapping[str, object]], reader: LabelReader, place: str
) -> tuple[str, ...]:
    """The labels that occur in rows, in order.

    Raises:
        UserError: there are fewer than two, or a value can be no class.
    """
    read = (reader.read(row, number) for number, row in enumerate(rows, start=1))
    found = in_order(Counter(label for label in read if label is not None))
    if len(found) < 2:
        raise UserError(
            f"{place}: a task needs at least two labels; found in the column '{reader.column}': "
            + (", ".join(found) or "none")
        )
    return found
