"""Rows that are each answered by an export of their own, on one backbone.

Rows of exports whose method can be mixed share batches, and so forward passes; those of any other
export are answered in batches of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ptv2_scale.data.collate import Example
from ptv2_scale.data.rows import PlacedRow, place_of
from ptv2_scale.inference.exported import Export
from ptv2_scale.runtime.errors import UserError, did_you_mean

EXPORT = "export"  # column of the name of the export that is to answer a row

Row = Mapping[str, object]


@dataclass(frozen=True)
class OwnedRows:
    """Rows to be answered, and who answers them.

    Attributes:
        exports: on one backbone, in the order of their numbers.
        rows: all of them.
        owners: number of the export that answers each row.
    """

    exports: Sequence[Export]
    rows: Sequence[Row]
    owners: Sequence[int]

    @cached_property
    def answering(self) -> list[int]:
        """Numbers of the exports that answer rows."""
        return sorted(set(self.owners))

    def examples(self, model: int) -> list[Example]:
        """The rows of an export, tokenised; each keeps its number among all rows.

        Raises:
            UserError: a row cannot be read.
        """
        places = [place for place, owner in enumerate(self.owners) if owner == model]
        rows = [PlacedRow(self.rows[at], place_of(self.rows[at], at + 1)) for at in places]
        examples = self.exports[model].setup.encode(rows, with_targets=False)
        return [replace(example, row=places[example.row]) for example in examples]


def mixing_key(export: Export) -> str:
    """Exports with the same one may have rows in one batch."""
    alone = export.setup.method.mixer() is None
    return f"{export.name if alone else ''}/{export.setup.config.prompt.method}"


def owner_of(row: Row, number: int, names: Sequence[str]) -> int:
    """Number of the export that a row names in its column `export`.

    Args:
        row: of the input.
        number: its number from 1, for messages about rows made in Python.
        names: of the exports.

    Raises:
        UserError: it names none, or none of these.
    """
    name = row.get(EXPORT)
    if not isinstance(name, str) or name not in names:
        found = f"found {name!r:.60}" if EXPORT in row else "is missing"
        guess = did_you_mean(name, names) if isinstance(name, str) else ""
        raise UserError(
            f"{place_of(row, number)}, column '{EXPORT}': {found}; of several exports each row"
            f" names the one that answers it: {', '.join(names)}.{guess}"
        )
    return names.index(name)
