"""Files of one JSON document, such as a list of rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptv2_scale.data.formats import Record, TableFormat, read_jsonl
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import parse_json

MAX_BYTES = 1 << 30


def read_json_rows(path: Path, table: TableFormat) -> Iterator[Record]:
    """A list of JSON objects, or one object a line; the numbers are those of the rows, from 1.

    Raises:
        UserError: it is neither; names file and line, or row.
    """
    if not _begins_list(path):
        yield from enumerate((row for _, row in read_jsonl(path, table)), start=1)
        return
    for number, row in enumerate(read_document(path), start=1):
        if not isinstance(row, dict):
            raise UserError(f"{path}:row {number}: found {row!r:.60}, expected a JSON object")
        yield number, row


def _begins_list(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1000).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"["


def read_document(path: Path) -> Any:
    """The JSON document that a file is.

    Raises:
        UserError: it is larger than `MAX_BYTES`, no UTF-8, or no JSON; names the line.
    """
    if path.stat().st_size > MAX_BYTES:
        raise UserError(
            f"{path}: more than {MAX_BYTES >> 30} GiB. Write one JSON object a line (.jsonl)."
        )
    try:
        return parse_json(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
