"""Files of answered rows, read back by other libraries and by our own readers."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from ptv2_scale.data.rows import PlacedRow
from ptv2_scale.data.sources import read_rows
from ptv2_scale.inference.row_files import FileKind, check_columns, kind_of, write_rows
from ptv2_scale.runtime.errors import UserError

ROWS: list[dict[str, Any]] = [
    {
        "text": 'a, "b"\tc\nd',
        "id": 1,
        "prediction": {"label": "yes", "probabilities": {"no": 0.25}},
    },
    {"text": "=é", "more": None, "prediction": {"label": "no", "tags": ["B", "O"], "ok": True}},
]


def written(kind: FileKind, rows: list[dict[str, Any]] = ROWS) -> bytes:
    file = io.BytesIO()
    write_rows(file, kind, iter(rows))
    return file.getvalue()


def test_json_lines() -> None:
    assert [json.loads(line) for line in written("jsonl").splitlines()] == ROWS
    assert "é".encode() in written("jsonl")


@pytest.mark.parametrize(("kind", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_tables_have_a_column_for_each_part_of_an_answer(
    kind: FileKind, delimiter: str, tmp_path: Path
) -> None:
    text = written(kind).decode()
    first, second = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    assert list(first) == [
        "text", "id", "prediction.label", "prediction.probabilities.no", "more",
        "prediction.tags", "prediction.ok",
    ]  # fmt: skip
    assert first["text"] == ROWS[0]["text"]
    assert (first["id"], first["prediction.probabilities.no"], first["more"]) == ("1", "0.25", "")
    assert (second["text"], second["prediction.label"]) == ("=é", "no")
    assert (second["prediction.tags"], second["prediction.ok"]) == ('["B", "O"]', "true")
    path = tmp_path / f"rows.{kind}"
    path.write_bytes(written(kind))
    assert [row["text"] for row in read_rows(path)] == [row["text"] for row in ROWS]


def test_parquet_has_the_answers_as_they_are() -> None:
    found = pyarrow.parquet.read_table(io.BytesIO(written("parquet"))).to_pylist()
    assert [row["text"] for row in found] == [row["text"] for row in ROWS]
    assert found[0]["prediction"]["probabilities"] == {"no": 0.25}
    assert found[1]["prediction"]["tags"] == ["B", "O"]
    with pytest.raises(UserError, match=r"cannot be written as Parquet .* Write \.jsonl"):
        written("parquet", [{"id": 1}, {"id": "x"}])


def test_the_kind_is_that_of_the_name() -> None:
    assert [kind_of(Path(name)) for name in ("a.csv", "a.parquet", "a.txt", "-")] == [
        "csv", "parquet", "jsonl", "jsonl",
    ]  # fmt: skip


def test_a_column_where_a_part_of_the_answer_is_to_stand_is_named() -> None:
    rows = [PlacedRow({"text": "a", "prediction.label": "x"}, "rows.csv:2")]
    check_columns("jsonl", rows, "prediction")
    with pytest.raises(UserError, match=r"rows\.csv:2: has a column 'prediction\.label'"):
        check_columns("csv", rows, "prediction")
