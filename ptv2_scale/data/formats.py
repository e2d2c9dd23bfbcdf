"""Parsers of the file formats a task is read from; every complaint names the file and its line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import parse_json

Row = dict[str, object]
Record = tuple[int, Row]  # number of the line (or row, for Parquet), and what it holds

MAX_LINE_BYTES = 10 * 1024 * 1024
# A Parquet file of a few bytes can stand for any number of rows; those of other kinds cannot.
MAX_PARQUET_ROWS = 10_000_000  # some gigabytes as Python's objects
MAX_PARQUET_BYTES = 16 << 30


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a UTF-8 file with their numbers from 1, without a byte-order mark.

    Raises:
        UserError: a line is not UTF-8, or longer than `MAX_LINE_BYTES`.
    """
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(raw) > MAX_LINE_BYTES:
                raise UserError(
                    f"{path}:{number}: the line is longer than {MAX_LINE_BYTES // 1024**2} MiB; "
                    "is this the right file?"
                )
            yield number, _decoded(raw, path, number)


def _decoded(raw: bytes, path: Path, number: int) -> str:
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}:{number}: not UTF-8 text (byte {error.start + 1} of the line); "
            "save the file as UTF-8"
        ) from None


def read_jsonl(path: Path, header: Sequence[str] | None) -> Iterator[Record]:
    """One JSON object a line; blank lines are skipped. `header` has no meaning here."""
    for number, line in lines(path):
        if line.strip():
            yield number, _json_object(line, path, number)


def _json_object(line: str, path: Path, number: int) -> Row:
    try:
        found = parse_json(line)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}:{number}: not JSON: {error.msg} (character {error.pos + 1} of the line)"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}:{number}: {error}") from None
    if not isinstance(found, dict):
        raise UserError(
            f"{path}:{number}: found {json.dumps(found)[:60]}, "
            'expected one JSON object a line, such as {"text": "..."}'
        )
    return found


def read_csv(path: Path, header: Sequence[str] | None) -> Iterator[Record]:
    """Comma-separated values with a header line; quoted fields may hold commas and newlines."""
    reader = csv.reader((line for _, line in lines(path)), strict=True)
    limit = csv.field_size_limit(MAX_LINE_BYTES)
    try:
        table = ((reader.line_num, fields) for fields in reader if fields)
        yield from _table(path, table, header)
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not CSV: {error}") from None
    finally:
        csv.field_size_limit(limit)


def read_tsv(path: Path, header: Sequence[str] | None) -> Iterator[Record]:
    """Tab-separated values as GLUE is published: a quote is a character like any other."""
    table = (
        (number, text.split("\t")) for number, line in lines(path) if (text := line.rstrip("\r\n"))
    )
    yield from _table(path, table, header)


def _table(
    path: Path, table: Iterator[tuple[int, list[str]]], header: Sequence[str] | None
) -> Iterator[Record]:
    names = list(header) if header else _header(path, table)
    for number, fields in table:
        if len(fields) != len(names):
            raise UserError(
                f"{path}:{number}: found {len(fields)} fields, expected {len(names)}: "
                + ", ".join(names)
            )
        yield number, dict(zip(names, fields, strict=True))


def _header(path: Path, table: Iterator[tuple[int, list[str]]]) -> list[str]:
    number, names = next(table, (1, []))
    if len(set(names)) < len(names):
        raise UserError(f"{path}:{number}: two columns have the same name: {', '.join(names)}")
    return names


def read_parquet(path: Path, header: Sequence[str] | None) -> Iterator[Record]:
    """Apache Parquet through pyarrow; the numbers are those of the rows, from 1."""
    import pyarrow
    import pyarrow.parquet

    rows: list[dict[str, Any]] = []
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _check_parquet_size(path, file.metadata.num_rows, 0)
            unpacked = 0
            for batch in file.iter_batches():
                unpacked += batch.nbytes
                _check_parquet_size(path, len(rows), unpacked)
                rows += batch.to_pylist()
    except (UserError, OSError):
        raise
    except Exception as error:
        # What a damaged file, or a value that Python has no type for, leads to has no common class.
        raise UserError(f"{path}: not a Parquet file of text and labels: {error}") from None
    yield from enumerate(rows, start=1)


def _check_parquet_size(path: Path, rows: int, unpacked: int) -> None:
    # The sizes that the file's own metadata claims are not asked: on damaged ones Arrow aborts.
    if rows > MAX_PARQUET_ROWS or unpacked > MAX_PARQUET_BYTES:
        raise UserError(
            f"{path}: more than {MAX_PARQUET_ROWS} rows, or than {MAX_PARQUET_BYTES >> 30} GiB"
            " unpacked. Split the file."
        )


READERS: dict[str, Callable[[Path, Sequence[str] | None], Iterator[Record]]] = {
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
}
