"""The classes of a classification task, and which of them each row has."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ptv2_scale.data.rows import Row, place_of
from ptv2_scale.runtime.errors import UserError, did_you_mean
from ptv2_scale.tasks.labels import LabelReader, canonical, label_counts, other_labels
from ptv2_scale.tasks.truth import all_known

logger = logging.getLogger(__name__)

Rows = Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class Classes:
    """The labels of a task and how a row's label is read.

    Attributes:
        labels: the classes, in the order of their numbers.
        reader: how the label is read.
        unlabelled: what to do with a row whose label is missing.

    Raises:
        UserError: there are fewer than two different labels.
    """

    labels: tuple[str, ...]
    reader: LabelReader
    unlabelled: Literal["refuse", "skip"]

    def __post_init__(self) -> None:
        """See the class."""
        different = {canonical(label) for label in self.labels} - {""}
        if len(different) < max(len(self.labels), 2):
            raise UserError(
                f"task.labels: found {list(self.labels)}, expected two or more different labels"
            )

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each class."""
        return {label: number for number, label in enumerate(self.labels)}

    def of(self, row: Mapping[str, object], number: int) -> int | None:
        """The class of a row; None: its label is missing.

        Args:
            row: of a data set.
            number: its number from 1, for the message about a row made in Python.

        Raises:
            UserError: the label is none of the classes, or can be no label.
        """
        found = self.reader.read(row, number)
        if found is None:
            return None
        if found not in self.numbers:
            raise UserError(
                f"{place_of(row, number)}: found the label '{found[:60]}' in the column"
                f" '{self.reader.column}', allowed: {', '.join(self.labels)}."
                + did_you_mean(found, self.labels)
            )
        return self.numbers[found]

    def truth(self, rows: Rows) -> list[int]:
        """The classes of rows that all have one.

        Raises:
            UserError: a label is missing.
        """
        return all_known((self.of(row, n) for n, row in enumerate(rows, start=1)), "labels")

    def checked(self, rows: list[Row]) -> list[Row]:
        """The rows of a test split, which may lack labels; those that are there are classes."""
        for number, row in enumerate(rows, start=1):
            self.of(row, number)
        return rows

    def labelled(self, rows: list[Row], place: str) -> list[Row]:
        """The rows that have a label, by the policy `unlabelled`.

        Args:
            rows: of a split that is trained or scored on.
            place: what the split is called in messages.

        Raises:
            UserError: a label is missing and the policy refuses that, or no row has one.
        """
        found = [row for number, row in enumerate(rows, start=1) if self._is_used(row, number)]
        if not found:
            raise UserError(f"{place}: no row has a label")
        if len(found) < len(rows):
            logger.warning(
                f"{place}: {len(rows) - len(found)} of {len(rows)} rows have no label and are left"
                " out (task.unlabelled: skip)"
            )
        return found

    def _is_used(self, row: Mapping[str, object], number: int) -> bool:
        if self.of(row, number) is not None:
            return True
        if self.unlabelled == "skip":
            return False
        found = row.get(self.reader.column)
        raise UserError(
            f"{place_of(row, number)}: no label in the column '{self.reader.column}', found"
            f" {found!r:.60}; allowed: {', '.join(self.labels)}. task.unlabelled: skip leaves such"
            " rows out; task.labels makes a word a label"
        )

    def describe_rows(self, rows: Rows) -> list[str]:
        """How often each class occurs, and what looks wrong in that."""
        read = (self.reader.read(row, number) for number, row in enumerate(rows, start=1))
        return label_counts(Counter(label for label in read if label is not None), self.labels)

    def signs_of_others(self, rows: Rows) -> list[str]:
        """What says that rows are those of another task: their labels, in words."""
        others = other_labels(rows, self.reader, self.numbers)
        if not others:
            return []
        return [
            f"their column '{self.reader.column}' has {', '.join(others[:5])}, and the labels"
            f" here are {', '.join(self.labels)}"
        ]

    def words(self, given: Mapping[str, str]) -> tuple[str, ...]:
        """The word of each class, in the order of their numbers.

        Args:
            given: the word of each label.

        Raises:
            UserError: a label is no class, or a class has no word.
        """
        words = {canonical(label): word for label, word in given.items()}
        known = [canonical(label) for label in self.labels]
        for label in words:
            if label not in known:
                raise UserError(
                    f"task.verbalizer: found the label '{label[:60]}', allowed:"
                    f" {', '.join(self.labels)}." + did_you_mean(label, self.labels)
                )
        missing = [label for label in known if label not in words]
        if missing:
            raise UserError(f"task.verbalizer: no word for the label '{missing[0]}'. Add one.")
        return tuple(words[label] for label in known)

    def positive(self, name: str | None) -> int:
        """The number of the class that f1 is of: that of this name, or the second.

        Raises:
            UserError: no label is called so.
        """
        if name is None:
            return 1
        wanted = canonical(name)
        found = [number for number, one in enumerate(self.labels) if canonical(one) == wanted]
        if not found:
            raise UserError(
                f"task.positive: found '{name}', allowed: {', '.join(self.labels)}."
                + did_you_mean(name, self.labels)
            )
        return found[0]
