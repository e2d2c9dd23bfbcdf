"""CSV that a spreadsheet opens without taking a cell for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

# With these a spreadsheet begins a formula; a tab or line's end before one is passed over by some.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV (RFC 4180).

    None is an empty cell; a text that could be a formula begins with a quote ('). Numbers stand as
    they are, negative ones too.
    """
    text = io.StringIO()
    csv.writer(text).writerows([map(_cell, row) for row in rows])
    return text.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    clean = value.replace("\0", "")
    return f"'{clean}" if clean.startswith(_FORMULA) else clean
