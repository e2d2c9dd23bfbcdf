"""Where rows come from: a local file, by its suffix, or a data set of the Hugging Face hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ptv2_scale.config import Quoting
from ptv2_scale.data.formats import (
    READERS,
    Reader,
    TableFormat,
    read_jsonl_stream,
    stop_there,
)
from ptv2_scale.data.rows import PlacedRow, Row, place_of, require_columns
from ptv2_scale.hub import FETCH_FIRST
from ptv2_scale.runtime.errors import UserError, did_you_mean
from ptv2_scale.runtime.files import refuse_pointer


def read_rows(
    path: Path,
    columns: Sequence[str] = (),
    *,
    header: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    quoting: Quoting = "csv",
    skip_short: bool = False,
    readers: Mapping[str, Reader] = READERS,
    on_bad: Callable[[UserError], None] = stop_there,
) -> list[Row]:
    """All rows of a .jsonl, .csv, .tsv or .parquet file, or of another kind, in the file's order.

    Args:
        path: the file.
        columns: names every row must have, after renaming; a row may have others as well.
        header: column names of a table whose first line does not name `columns`.
        rename: names to give to columns of the file.
        quoting, skip_short, on_bad: see `TableFormat`.
        readers: of files by their suffix; that of "" reads all others.

    Raises:
        UserError: the file is missing, empty, of another kind or broken, or a row lacks a column.
    """
    table = TableFormat(quoting, tuple(header), tuple(columns), skip_short, on_bad)
    try:
        read = _reader(path, readers)
        refuse_pointer(path)
        records = list(read(path, table))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not records:
        raise UserError(f"{path}: the file holds no rows")
    counted = "row " if path.suffix in (".parquet", ".json") else ""
    rows: list[Row] = [
        PlacedRow(_renamed(row, rename or {}), f"{path}:{counted}{number}")
        for number, row in records
    ]
    for number, row in enumerate(rows, start=1):
        require_columns(row, tuple(columns), place_of(row, number))
    return rows


def read_stream(
    file: BinaryIO, name: str, on_bad: Callable[[UserError], None] = stop_there
) -> list[Row]:
    """All rows of an open file of JSON lines, which messages call `name`.

    Raises:
        UserError: it holds no rows, or a line is no JSON object.
    """
    records = read_jsonl_stream(file, name, TableFormat(on_bad=on_bad))
    rows: list[Row] = [PlacedRow(row, f"{name}:{number}") for number, row in records]
    if not rows:
        raise UserError(f"{name}: holds no rows")
    return rows


def _reader(path: Path, readers: Mapping[str, Reader]) -> Reader:
    if path.suffix not in readers and "" not in readers:
        allowed = ", ".join(readers)
        raise UserError(f"{path}: the kind '{path.suffix}' is not known; allowed: {allowed}")
    if os.path.isdir(path):
        raise UserError(f"{path}: is a folder; name a file in it")
    if not os.path.isfile(path):
        beside = [file.name for file in path.parent.glob("*")] if path.parent.is_dir() else []
        raise UserError(f"{path}: there is no such file.{did_you_mean(path.name, beside)}")
    return readers.get(path.suffix) or readers[""]


def _renamed(row: Row, rename: Mapping[str, str]) -> Row:
    return {rename.get(name, name): value for name, value in row.items()}


def hub_rows(dataset: str, subset: str | None, split: str) -> list[Row]:
    """All rows of a split through `datasets`; class numbers become the data set's class names.

    A class number below zero, which the hub uses where labels are withheld, becomes None.

    Raises:
        UserError: the data set cannot be had, as when offline without a copy in the cache.
    """
    found = _load(dataset, subset, split)
    rows: list[Row] = list(found)
    for column, feature in found.features.items():
        # The classes of a list's items are those of the feature inside it.
        if names := getattr(getattr(feature, "feature", feature), "names", None):
            for row in rows:
                row[column] = _class_names(row[column], names)
    if not rows:
        raise UserError(f"{dataset}: the split '{split}' holds no rows")
    return rows


def _load(dataset: str, subset: str | None, split: str) -> Any:
    try:
        from datasets import load_dataset

        return load_dataset(dataset, subset, split=split)
    except Exception as error:  # the hub fails in many types: HTTP, cache, missing split, ...
        name = dataset if subset is None else f"{dataset} ({subset})"
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"cannot get the split '{split}' of {name} from the hub: {reason}. {FETCH_FIRST},"
            " or set task.path=FOLDER to read local files"
        ) from error


def _class_names(value: object, names: Sequence[str]) -> object:
    if isinstance(value, list):
        return [_class_names(one, names) for one in value]
    return names[value] if isinstance(value, int) and value >= 0 else None
