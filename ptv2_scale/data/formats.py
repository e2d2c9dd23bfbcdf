"""Parsers of the file formats a task is read from; every complaint names the file and its line."""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ptv2_scale.config import Quoting
from ptv2_scale.data.rows import SEPARATORS, Row, is_unparted, require_columns
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import parse_json

logger = logging.getLogger(__name__)

Record = tuple[int, Row]  # number of the line (or row, for Parquet), and what it holds
_Fields = tuple[int, list[str], list[str]]  # number of the first line, fields, lines

MAX_LINE_BYTES = 10 * 1024 * 1024
# A Parquet file of a few bytes can stand for any number of rows; those of other kinds cannot.
MAX_PARQUET_ROWS = 10_000_000  # some gigabytes as Python's objects
MAX_PARQUET_BYTES = 16 << 30


# How files begin that are often given in place of the text in them.
_PACKED = {
    b"\x1f\x8b": "packed by gzip",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ": "packed by xz",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"PAR1": "a Parquet file, whose name ends with .parquet",
}


def stop_there(error: UserError) -> None:
    """Take a line that is no row for a mistake in the whole file."""
    raise error


@dataclass(frozen=True)
class TableFormat:
    """How a table in a text file is written, and what becomes of lines that are no rows.

    Attributes:
        quoting: csv: quoted fields, quotes inside them doubled, as the csv module, pandas and
            spreadsheets write; backslash: with a backslash before them, as R's write.table does;
            none: a quote is a character like any other.
        header: names of the columns of a file whose first line does not name `columns`.
        columns: that will be asked for.
        skip_short: leave out records of too few fields, as the hub does where a published file has
            some, with a warning.
        on_bad: called with what is wrong with a line, which is left out unless this raises.
    """

    quoting: Quoting = "csv"
    header: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    skip_short: bool = False
    on_bad: Callable[[UserError], None] = stop_there


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a UTF-8 file with their numbers from 1, without a byte-order mark.

    Raises:
        UserError: a line is not UTF-8, or longer than `MAX_LINE_BYTES`.
    """
    with path.open("rb") as file:
        yield from _lines_of(file, path)


def _lines_of(file: BinaryIO, name: Path | str) -> Iterator[tuple[int, str]]:
    number = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(raw) > MAX_LINE_BYTES:
            raise UserError(
                f"{name}:{number}: the line is longer than {MAX_LINE_BYTES // 1024**2} MiB; "
                "is this the right file?"
            )
        yield number, _decoded(raw, name, number)


def _decoded(raw: bytes, path: Path | str, number: int) -> str:
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        packed = next((kind for start, kind in _PACKED.items() if raw.startswith(start)), None)
        if packed is not None and number == 1:
            raise UserError(
                f"{path}: is {packed}, and not text. Unpack or export it first"
            ) from None
        raise UserError(
            f"{path}:{number}: not UTF-8 text (byte {error.start + 1} of the line); "
            "save the file as UTF-8"
        ) from None


def read_jsonl(path: Path, table: TableFormat) -> Iterator[Record]:
    """One JSON object a line; blank lines are skipped. Of `table` only `on_bad` counts here."""
    return _json_objects(lines(path), path, table)


def read_jsonl_stream(file: BinaryIO, name: str, table: TableFormat) -> Iterator[Record]:
    """The same of a file that is open, which messages call `name`."""
    return _json_objects(_lines_of(file, name), name, table)


def _json_objects(
    numbered: Iterator[tuple[int, str]], name: Path | str, table: TableFormat
) -> Iterator[Record]:
    for number, line in numbered:
        if not line.strip():
            continue
        try:
            row = _json_object(line, name, number)
        except UserError as error:
            table.on_bad(error)
            continue
        yield number, row


def _json_object(line: str, path: Path | str, number: int) -> Row:
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


def read_csv(path: Path, table: TableFormat) -> Iterator[Record]:
    """Comma-separated values; quoted fields may hold commas and newlines."""
    return _read_table(path, table, ",")


def read_tsv(path: Path, table: TableFormat) -> Iterator[Record]:
    """Tab-separated values."""
    return _read_table(path, table, "\t")


def _read_table(path: Path, table: TableFormat, delimiter: str) -> Iterator[Record]:
    split = _unquoted if table.quoting == "none" else _quoted
    records = split(path, table.quoting, delimiter)
    names: list[str] = []
    short = 0
    for number, fields, text in records:
        if not names:
            names, named = _names(path, number, fields, table)
            if named:
                continue
        if len(fields) < len(names) and table.skip_short:
            short += 1
            continue
        if len(fields) != len(names):
            table.on_bad(UserError(_wrong_width(path, number, fields, names)))
            continue
        _check_lines(path, number, text, delimiter, len(names))
        yield number, dict(zip(names, fields, strict=True))
    if short:
        logger.warning(f"{path}: {short} rows have too few fields and are left out")


def _names(path: Path, number: int, first: list[str], table: TableFormat) -> tuple[list[str], bool]:
    """Names of the columns, and whether the first record has them."""
    if table.header and not (table.columns and set(table.columns) <= set(first)):
        return list(table.header), False
    if len(set(first)) < len(first):
        raise UserError(f"{path}:{number}: two columns have the same name: {', '.join(first)}")
    if is_unparted(first):  # before a quote of a later line is taken for the mistake
        require_columns(dict.fromkeys(first), table.columns, f"{path}:{number}")
    return first, True


def _wrong_width(path: Path, number: int, fields: list[str], names: list[str]) -> str:
    wrong = f"{path}:{number}: found {len(fields)} fields, expected {len(names)}: "
    reason = ". Quote a field that holds the separator"
    if len(fields) == len(names) + 1:
        reason += "; R's write.table writes names for its rows without row.names=FALSE"
    return wrong + ", ".join(names) + (reason if len(fields) > len(names) else "")


def _unquoted(path: Path, quoting: Quoting, delimiter: str) -> Iterator[_Fields]:
    for number, line in lines(path):
        if text := line.rstrip("\r\n"):
            yield number, text.split(delimiter), [line]


class _Physical:
    """The lines of a file as csv asks for them; those of the record at hand are kept."""

    def __init__(self, path: Path, quoting: Quoting) -> None:
        self._lines = lines(path)
        self._escaped = quoting == "backslash"
        self.number = 1
        self.record: list[str] = []

    def __iter__(self) -> _Physical:
        return self

    def __next__(self) -> str:
        number, line = next(self._lines)
        if not self.record:
            self.number = number
        self.record.append(line)
        # csv drops any backslash; R and pandas put one before a special character alone.
        return _BACKSLASH.sub(_doubled, line) if self._escaped else line


_BACKSLASH = re.compile(r"\\([\\\"\t,\r\n]?)")


def _doubled(found: re.Match[str]) -> str:
    return found[0] if found[1] else "\\\\"


def _quoted(path: Path, quoting: Quoting, delimiter: str) -> Iterator[_Fields]:
    physical = _Physical(path, quoting)
    options: dict[str, Any] = {"escapechar": "\\", "doublequote": False}
    reader = csv.reader(
        physical, delimiter=delimiter, strict=True, **(options if quoting == "backslash" else {})
    )
    limit = csv.field_size_limit(MAX_LINE_BYTES)
    try:
        for fields in reader:
            if fields:
                yield physical.number, fields, physical.record
            physical.record = []
    except csv.Error as error:
        if re.search(r'"[;,\t|]"', "".join(physical.record).replace(f'"{delimiter}"', "")):
            raise UserError(f"{path}:{physical.number}: not CSV: {error}.{SEPARATORS}") from None
        raise UserError(
            f"{path}:{physical.number}: not CSV: {error}. {_QUOTING[quoting]}; task.quoting says"
            " otherwise: csv, backslash, or none, where a quote is a character like any other"
        ) from None
    finally:
        csv.field_size_limit(limit)


_QUOTING = {
    "csv": "A field that begins with a quote must end with one, and quotes inside are doubled",
    "backslash": "A field that begins with a quote must end with one, and \\ stands before others",
}


def _check_lines(path: Path, number: int, text: list[str], delimiter: str, width: int) -> None:
    """Refuse a record of several lines, each of which would be one if quotes had no meaning."""
    if delimiter != "\t" or len(text) == 1:
        return
    if all(line.count(delimiter) == width - 1 for line in text):
        raise UserError(
            f"{path}:{number}: a quote begins a field that ends {len(text) - 1} lines later, and"
            f" each of these lines has {width} fields by itself. Where quotes are characters like"
            " any other, set task.quoting: none; where they quote, take the tabs out of the text"
        )


def read_parquet(path: Path, table: TableFormat) -> Iterator[Record]:
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


Reader = Callable[[Path, TableFormat], Iterator[Record]]
READERS: dict[str, Reader] = {
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
}
