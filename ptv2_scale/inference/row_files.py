"""Files of answered rows: JSON lines, CSV, TSV or Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from ptv2_scale.data.rows import Row, place_of
from ptv2_scale.runtime.errors import UserError

FileKind = Literal["jsonl", "csv", "tsv", "parquet"]
FILE_KINDS: tuple[FileKind, ...] = get_args(FileKind)


def kind_of(path: Path) -> FileKind:
    """The kind of a file by its name; JSON lines where that says nothing."""
    suffix = path.suffix.removeprefix(".")
    return next((kind for kind in FILE_KINDS if kind == suffix), "jsonl")


def check_columns(kind: FileKind, rows: Iterable[Row], key: str) -> None:
    """Refuse rows whose own columns are called as those of the answers will be.

    Raises:
        UserError: names the row and the column.
    """
    if kind not in _DELIMITERS:
        return
    for number, row in enumerate(rows, start=1):
        taken = next((name for name in row if name.startswith(f"{key}.")), None)
        if taken is not None:
            raise UserError(
                f"{place_of(row, number)}: has a column '{taken}', where a part of the prediction"
                " is to stand. Name another place with --key NAME."
            )


def write_rows(file: BinaryIO, kind: FileKind, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows.

    In CSV and TSV an object has a column for each of its keys ("prediction.label"); lists, and
    what else is no text or number, stand as JSON, and what is missing is empty.

    Raises:
        UserError: the rows cannot be written as this kind of file.
        OSError: the file cannot be written.
    """
    _WRITERS[kind](file, rows)


def _write_jsonl(file: BinaryIO, rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        file.write(f"{json.dumps(row, ensure_ascii=False)}\n".encode())


def _write_parquet(file: BinaryIO, rows: Iterable[Mapping[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.Table.from_pylist(_same_columns(rows))
        pyarrow.parquet.write_table(table, file)
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"the rows cannot be written as Parquet ({reason}): in a column all values are of one"
            " kind there. Write .jsonl."
        ) from None


def _same_columns(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    every = list(rows)
    names = dict.fromkeys(name for row in every for name in row)
    return [{name: row.get(name) for name in names} for row in every]


def _write_csv(file: BinaryIO, rows: Iterable[Mapping[str, Any]]) -> None:
    _write_delimited(file, rows, ",")


def _write_tsv(file: BinaryIO, rows: Iterable[Mapping[str, Any]]) -> None:
    _write_delimited(file, rows, "\t")


def _write_delimited(file: BinaryIO, rows: Iterable[Mapping[str, Any]], delimiter: str) -> None:
    flat = _same_columns(dict(_flat(row)) for row in rows)
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(flat[0] if flat else [])
    writer.writerows([_cell(value) for value in row.values()] for row in flat)
    text.flush()
    text.detach()  # the file stays open


def _flat(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _cell(value: Any) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    return json.dumps(value, ensure_ascii=False)


_DELIMITERS: Sequence[FileKind] = ("csv", "tsv")
_WRITERS: Mapping[FileKind, Callable[[BinaryIO, Iterable[Mapping[str, Any]]], None]] = {
    "jsonl": _write_jsonl,
    "csv": _write_csv,
    "tsv": _write_tsv,
    "parquet": _write_parquet,
}
