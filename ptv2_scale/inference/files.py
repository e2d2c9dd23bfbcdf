"""The files of `predict` and `generate`: rows in, rows with answers or a leaderboard's file out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ptv2_scale.data.formats import stop_there
from ptv2_scale.data.rows import Row, place_of
from ptv2_scale.data.sources import read_rows, read_stream
from ptv2_scale.inference.exported import Export
from ptv2_scale.inference.writing import owner_of, writer_of
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Leaderboard, Record, Task

STANDARD = Path("-")  # standard input, or standard output
OnBad = Callable[[UserError], None]


@dataclass(frozen=True)
class Predictions:
    """What `predict` reads, and what it writes of it.

    Attributes:
        rows: of the input.
        path: the file to be written.
        lines: its lines, from the records of each export by its name, one a row.
    """

    rows: list[Row]
    path: Path
    lines: Callable[[Mapping[str, Sequence[Record]]], Iterable[str]]


def generations(source: Path, output: Path, exports: Sequence[Export], key: str) -> Predictions:
    """Rows of `source`, each to be written as it was with a text under `key`.

    Raises:
        UserError: see `read_input`; or an export's task writes no texts, or of several exports a
            row names none.
    """
    for export in exports:
        writer_of(export)
    tasks = [export.setup.task for export in exports]
    rows = read_input(source, tasks if len(tasks) == 1 else [], key)
    if len(exports) > 1:
        names = [export.name for export in exports]
        for number, row in enumerate(rows, start=1):
            tasks[owner_of(row, number, names)].check_row(row, number)
    return Predictions(rows, output, lambda found: prediction_lines(rows, key, found))


def submission(
    source: Path, folder: Path, tasks: Sequence[Task], board: Leaderboard
) -> Predictions:
    """Rows of `source`, to be written to `folder` as a leaderboard takes their answers.

    Raises:
        UserError: there are several tasks, or the task is none of the leaderboard's; or the rows
            cannot be read.
    """
    if len(tasks) > 1:
        raise UserError(f"--format {board}: takes one export, found {len(tasks)}.")
    made = tasks[0].submission(board, source)
    return Predictions(
        made.rows, folder / made.file, lambda found: made.lines(next(iter(found.values())))
    )


def read_input(
    path: Path, tasks: Sequence[Task], key: str, on_bad: OnBad = stop_there
) -> list[Row]:
    """Rows to be answered.

    Args:
        path: a .jsonl, .csv, .tsv or .parquet file, or `STANDARD`: JSON lines of standard input.
        tasks: that every row is for.
        key: under which answers are to stand beside the row's own columns.
        on_bad: called with what is wrong with a row or a line, which is left out unless this
            raises.

    Raises:
        UserError: the file cannot be read, or a row lacks what a task reads of it, or has a column
            of that name; names the line.
    """
    if path == STANDARD:
        rows = read_stream(sys.stdin.buffer, "standard input", on_bad)
    else:
        rows = read_rows(path, on_bad=on_bad)
    kept = [row for number, row in enumerate(rows, 1) if _is_good(row, number, tasks, key, on_bad)]
    if not kept:
        raise UserError(f"{path}: no row of it can be answered")
    return kept


def _is_good(
    row: Row, number: int, tasks: Sequence[Task], key: str, on_bad: Callable[[UserError], None]
) -> bool:
    try:
        for task in tasks:
            task.check_row(row, number)
        if key in row:
            raise UserError(
                f"{place_of(row, number)}: has a column '{key}', where the prediction is to stand."
                " Name another one with --key NAME."
            )
    except UserError as error:
        on_bad(error)
        return False
    return True


def write_lines(file: BinaryIO, lines: Iterable[str]) -> None:
    """Write lines of text.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        for line in lines:
            file.write(f"{line}\n".encode())
        file.flush()
    except OSError as error:
        raise UserError(f"the predictions cannot be written ({error.strerror}).") from None


def prediction_lines(
    rows: Sequence[Row], key: str, found: Mapping[str, Sequence[Record]]
) -> Iterator[str]:
    """The rows of `answered_rows` as JSON lines."""
    for row in answered_rows(rows, key, found):
        yield json.dumps(row, ensure_ascii=False)


def answered_rows(
    rows: Sequence[Row], key: str, found: Mapping[str, Sequence[Record]]
) -> Iterator[Row]:
    """Each row as it was, with its answer under a key of its own.

    Args:
        rows: of the input.
        key: which no row has.
        found: answers of each export, by its name; those of several stand under these names.
    """
    for number, row in enumerate(rows):
        made = {name: records[number] for name, records in found.items()}
        answer = next(iter(made.values())) if len(made) == 1 else made
        yield {**row, key: answer}
