"""The files of `predict`: JSONL in, JSONL out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ptv2_scale.data.rows import Row
from ptv2_scale.data.sources import read_rows
from ptv2_scale.runtime.atomic import atomic_file
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Record


def read_input(path: Path, columns: Sequence[str]) -> list[Row]:
    """Rows to be labelled.

    Args:
        path: a .jsonl file.
        columns: that every row must have.

    Raises:
        UserError: it is not JSONL, or a row has no text in a column; names the line.
    """
    if path.suffix != ".jsonl":
        raise UserError(f"--input {path}: predict reads .jsonl files, one object a line.")
    rows = read_rows(path, columns)
    for number, row in enumerate(rows, start=1):
        for column in columns:
            if not isinstance(row[column], str):
                raise UserError(
                    f"{path}, row {number}, column '{column}': found {row[column]!r:.60},"
                    " expected text."
                )
    return rows


def check_output(path: Path) -> None:
    """Refuse to overwrite, before any work is done.

    Raises:
        UserError: the file exists, or its folder does not.
    """
    if os.path.lexists(path):
        raise UserError(f"--output {path}: exists already, and nothing is overwritten.")
    if not os.path.isdir(path.parent):
        raise UserError(f"--output {path}: the folder {path.parent} does not exist.")


def write_predictions(
    path: Path, rows: Sequence[Row], found: Mapping[str, Sequence[Record]]
) -> None:
    """Write each row with its answer: `label` and `probabilities` for classification.

    With several exports these stand under `predictions`, by the export's name.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        with atomic_file(path) as file:
            for number, row in enumerate(rows):
                made = {name: records[number] for name, records in found.items()}
                extra = next(iter(made.values())) if len(made) == 1 else {"predictions": made}
                line = json.dumps({**row, **extra}, ensure_ascii=False)
                file.write(f"{line}\n".encode())
    except OSError as error:
        raise UserError(f"--output {path}: cannot be written ({error.strerror}).") from None
