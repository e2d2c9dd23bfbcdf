"""Tables as Markdown, and as CSV."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ptv2_scale.runtime.errors import printable
from ptv2_scale.sweep.report.tables import Entry, Table

# Characters that mean something in Markdown or, in GitHub's, are HTML.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#|!~&$])")


def markdown(table: Table) -> str:
    """A table as GitHub's Markdown, its caption above; the best of a row is bold."""
    ends = [" ---:" if table.is_number(column) else " ---" for column in range(len(table.columns))]
    lines = [
        f"**{escape(table.caption)}**",
        "",
        _line([escape(column) for column in table.columns]),
        f"|{' |'.join(ends)} |",
        *(_line([_entry(one) for one in row]) for row in table.rows),
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """A text of anyone's as one line of Markdown that shows it as it is."""
    return _SPECIAL.sub(r"\\\1", printable(text))


def _line(words: Sequence[str]) -> str:
    return f"| {' | '.join(words)} |"


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    return f"**{text}**" if entry.best else text


def table_rows(table: Table) -> Iterator[list[object]]:
    """A table as rows of CSV, unrounded: deviations over seeds have columns of their own."""
    spread = [
        any(row[column].deviation is not None for row in table.rows)
        for column in range(len(table.columns))
    ]
    header: list[object] = []
    for name, has in zip(table.columns, spread, strict=True):
        header += [name, f"{name} deviation"] if has else [name]
    yield header
    for row in table.rows:
        values: list[object] = []
        for entry, has in zip(row, spread, strict=True):
            values += [entry.value, entry.deviation] if has else [entry.value]
        yield values
