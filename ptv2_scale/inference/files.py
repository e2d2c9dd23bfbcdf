"""The files of `predict`: JSONL in, JSONL out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from ptv2_scale.data.rows import Row, place_of
from ptv2_scale.data.sources import read_rows
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Record, Task


def read_input(path: Path, tasks: Sequence[Task], key: str) -> list[Row]:
    """Rows to be labelled.

    Args:
        path: a .jsonl file.
        tasks: that are to answer every row.
        key: under which predictions are to stand beside the row's own columns.

    Raises:
        UserError: it is not JSONL, a task cannot read a row, or a row has a column of that name;
            names the line.
    """
    if path.suffix != ".jsonl":
        raise UserError(f"--input {path}: predict reads .jsonl files, one object a line.")
    rows = read_rows(path, [column for task in tasks for column in task.columns])
    for number, row in enumerate(rows, start=1):
        for task in tasks:
            task.check_row(row, number)
        if key in row:
            raise UserError(
                f"{place_of(row, number)}: has a column '{key}', where the prediction is to stand."
                " Name another one with --key NAME."
            )
    return rows


def write_predictions(
    file: BinaryIO, rows: Sequence[Row], key: str, found: Mapping[str, Sequence[Record]]
) -> None:
    """Write each row as it was, with its answer under a key of its own.

    Args:
        file: to be written.
        rows: of the input.
        key: which no row has.
        found: answers of each export, by its name; those of several stand under these names.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        for number, row in enumerate(rows):
            made = {name: records[number] for name, records in found.items()}
            answer = next(iter(made.values())) if len(made) == 1 else made
            file.write(f"{json.dumps({**row, key: answer}, ensure_ascii=False)}\n".encode())
        file.flush()
    except OSError as error:
        raise UserError(f"the predictions cannot be written ({error.strerror}).") from None
