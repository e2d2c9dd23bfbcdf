"""The files of `predict` and `generate`: rows in, rows with answers or a leaderboard's file out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ptv2_scale.data.formats import stop_there
from ptv2_scale.data.rows import Row, place_of
from ptv2_scale.data.sources import read_rows, read_stream
from ptv2_scale.inference.exported import Export
from ptv2_scale.inference.owned_rows import owner_of
from ptv2_scale.inference.writing import writer_of
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Leaderboard, Record, Submission, Task

STANDARD = Path("-")  # standard input, or standard output
OnBad = Callable[[UserError], None]
# Of a row and its number from 1; raises a `UserError` where the row cannot be answered.
CheckRow = Callable[[Row, int], None]


def check_by_all(exports: Sequence[Export]) -> CheckRow:
    """What refuses a row that one of the exports cannot answer."""

    def check(row: Row, number: int) -> None:
        for export in exports:
            export.setup.task.check_row(row, number)

    return check


def check_by_owner(exports: Sequence[Export]) -> CheckRow:
    """What refuses a row that its own export cannot answer by a text.

    Of several exports each row names its own.

    Raises:
        UserError: an export's task writes no texts.
    """
    for export in exports:
        writer_of(export)
    names = [export.name for export in exports]

    def check(row: Row, number: int) -> None:
        owner = owner_of(row, number, names) if len(names) > 1 else 0
        exports[owner].setup.task.check_row(row, number)

    return check


def submission(source: Path, tasks: Sequence[Task], board: Leaderboard) -> Submission:
    """A leaderboard's file for the rows of `source`.

    Raises:
        UserError: there are several tasks, or the task is none of the leaderboard's; or the rows
            cannot be read.
    """
    if len(tasks) > 1:
        raise UserError(f"--format {board}: takes one export, found {len(tasks)}.")
    return tasks[0].submission(board, source)


def read_input(path: Path, check: CheckRow, key: str, on_bad: OnBad = stop_there) -> list[Row]:
    """Rows to be answered.

    Args:
        path: a .jsonl, .csv, .tsv or .parquet file, or `STANDARD`: JSON lines of standard input.
        check: refuses a row that cannot be answered.
        key: under which answers are to stand beside the row's own columns.
        on_bad: called with what is wrong with a row or a line, which is left out unless this
            raises.

    Raises:
        UserError: the file cannot be read, or a row cannot be answered, or has a column of that
            name; names the line.
    """
    if path == STANDARD:
        rows = read_stream(sys.stdin.buffer, "standard input", on_bad)
    else:
        rows = read_rows(path, on_bad=on_bad)
    kept = [row for number, row in enumerate(rows, 1) if _is_good(row, number, check, key, on_bad)]
    if not kept:
        raise UserError(f"{path}: no row of it can be answered")
    return kept


def _is_good(row: Row, number: int, check: CheckRow, key: str, on_bad: OnBad) -> bool:
    try:
        check(row, number)
        if key in row:
            raise UserError(
                f"{place_of(row, number)}: has a column '{key}', where the prediction is to stand."
                " Name another one with --key NAME."
            )
    except UserError as error:
        on_bad(error)
        return False
    return True


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
