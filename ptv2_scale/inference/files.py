"""The files of `predict` and `generate`: rows in, rows with answers or a leaderboard's file out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ptv2_scale.data.rows import Row, place_of
from ptv2_scale.data.sources import read_rows
from ptv2_scale.inference.exported import Export
from ptv2_scale.inference.writing import owner_of, writer_of
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Leaderboard, Record, Task


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


def predictions(source: Path, output: Path, tasks: Sequence[Task], key: str) -> Predictions:
    """Rows of `source`, each to be written as it was with its answers under `key`.

    Raises:
        UserError: see `read_input`.
    """
    rows = read_input(source, tasks, key)
    return Predictions(rows, output, lambda found: prediction_lines(rows, key, found))


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


def read_input(path: Path, tasks: Sequence[Task], key: str) -> list[Row]:
    """Rows to be answered.

    Args:
        path: a .jsonl file.
        tasks: that every row is for.
        key: under which answers are to stand beside the row's own columns.

    Raises:
        UserError: it is not JSONL, or a row lacks what a task reads of it, or has a column of that
            name; names the line.
    """
    if path.suffix != ".jsonl":
        raise UserError(f"--input {path}: this command reads .jsonl files, one object a line.")
    rows = read_rows(path)
    for number, row in enumerate(rows, start=1):
        for task in tasks:
            task.check_row(row, number)
        if key in row:
            raise UserError(
                f"{place_of(row, number)}: has a column '{key}', where the prediction is to stand."
                " Name another one with --key NAME."
            )
    return rows


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
    """Each row as it was, with its answer under a key of its own.

    Args:
        rows: of the input.
        key: which no row has.
        found: answers of each export, by its name; those of several stand under these names.
    """
    for number, row in enumerate(rows):
        made = {name: records[number] for name, records in found.items()}
        answer = next(iter(made.values())) if len(made) == 1 else made
        yield json.dumps({**row, key: answer}, ensure_ascii=False)
