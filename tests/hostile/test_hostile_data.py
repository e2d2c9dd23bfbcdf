"""Data files of strangers, and files to be predicted."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pyarrow.parquet
import pytest
from arena import Arena
from hypothesis import given
from hypothesis import strategies as st
from strategies import damaged, file_names, json_bytes, junk, mutated, trials

from ptv2_scale.config import Classification
from ptv2_scale.data.sources import read_rows
from ptv2_scale.inference.files import answered_rows, read_input
from ptv2_scale.inference.row_files import write_rows
from ptv2_scale.runtime.atomic import new_file
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.labels import LabelReader, in_order, label_counts
from ptv2_scale.tasks.registry import build_task

TASK = build_task(
    Classification(name="classification", path="/", text="text", label="label", labels=["a", "b"])
)
RECORD = {"label": "a", "probabilities": {"a": 1.0}}

ROWS: list[Any] = [{"text": "one text", "label": "a"}, {"text": "another", "label": "b"}] * 2
MANY = 30_000


def rows_of(path: Path, **keys: Any) -> None:
    """Read a file the way `train` does: the labels that are found, then every row's own."""
    task = build_task(
        Classification(name="classification", path=str(path.parent), train=path.name, text="text",
             label="label", **keys)
    )  # fmt: skip
    task.rows("train")


def jsonl(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def table(rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


TASK = build_task(Classification(name="demo", labels=["a", "b"]))

BOMBS = {
    "many labels": jsonl([{"text": "x", "label": f"l{n}"} for n in range(MANY)]),
    "long labels": jsonl([{"text": "x", "label": f"{n % 7}" * 400_000} for n in range(8)]),
    "long keys": jsonl([{"tex" + "t" * n * 100_000: "x", "label": "a"} for n in range(2, 5)]),
    "many keys": jsonl([{f"k{n}": 1 for n in range(MANY)}]),
    "deep label": b'{"text": "x", "label": ' + b"[" * 900 + b"]" * 900 + b"}\n",
    "deeper label": b'{"text": "x", "label": ' + b"[" * 960 + b"]" * 960 + b"}\n",
    "deep text": b'{"label": "x", "text": ' + b'{"a":' * 970 + b"1" + b"}" * 970 + b"}\n",
    "half character": b'{"text": "\\ud800", "label": "a"}\n{"text": "x", "label": "\\udfff"}\n',
    "blank lines": b"\n" * 2_000_000,
    "one long line": b'{"text": "' + b"x" * (11 << 20) + b'"}\n',
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(arena: Arena, name: str) -> None:
    path = arena.inside / "bomb.jsonl"
    path.write_bytes(BOMBS[name])
    arena.attempt("JSONL", lambda: rows_of(path))
    arena.attempt("JSONL", lambda: rows_of(path, labels=["a", "b", "1" * 400_000]))
    arena.attempt("prediction input", lambda: read_input(path, TASK.check_row, "prediction"))


@trials(2)
@given(data=st.data())
def test_jsonl(arena: Arena, data: st.DataObject) -> None:
    spoilt = mutated(ROWS, str(arena.canary)).map(
        lambda v: jsonl(v if isinstance(v, list) else [v])
    )
    path = arena.inside / "rows.jsonl"
    path.write_bytes(data.draw(spoilt | damaged(jsonl(ROWS))))
    arena.attempt("JSONL", lambda: rows_of(path))


@trials()
@given(data=st.data())
def test_csv_and_tsv(arena: Arena, data: st.DataObject) -> None:
    cells = st.lists(st.lists(junk(str(arena.canary)), max_size=4), max_size=5).map(table)
    whole = table([["text", "label"], *[[row["text"], row["label"]] for row in ROWS]])
    path = arena.inside / f"rows{data.draw(st.sampled_from(['.csv', '.tsv']))}"
    head = data.draw(st.sampled_from([b"", b"text,label\n", b"text\tlabel\n"]))
    path.write_bytes(data.draw(damaged(whole) | cells.map(lambda rest: head + rest)))
    arena.attempt("CSV and TSV", lambda: rows_of(path))


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), sink)
    return sink.getvalue()


WORDS = pyarrow.array(["a", "b"])
TABLES = {
    "good": parquet(text=WORDS, label=WORDS),
    "bytes": parquet(text=pyarrow.array([b"\xff", b"\xfe"]), label=WORDS),
    "years": parquet(
        text=WORDS, label=pyarrow.array([2**62, -(2**62)]).view(pyarrow.timestamp("us"))
    ),
    "days": parquet(text=WORDS, label=pyarrow.array([2**31 - 1] * 2, "int32").view("date32")),
    "nanoseconds": parquet(
        text=WORDS, label=pyarrow.array([1, 2**60 + 1]).view(pyarrow.timestamp("ns"))
    ),
    "time zone": parquet(
        text=WORDS, label=pyarrow.array([1, 2]).view(pyarrow.timestamp("us", tz="No/Where"))
    ),
    "bomb": parquet(
        text=pyarrow.DictionaryArray.from_arrays(numpy.zeros(20_000_000, "int8"), ["x"]),
    ),
}  # fmt: skip


@trials()
@given(data=st.data())
def test_parquet(arena: Arena, data: st.DataObject) -> None:
    small = [content for content in TABLES.values() if len(content) < 10_000]
    path = arena.inside / "rows.parquet"
    path.write_bytes(data.draw(st.sampled_from(small).flatmap(damaged)))
    arena.attempt("Parquet", lambda: rows_of(path))


LABELS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.lists(st.integers(), max_size=2),
    st.sampled_from(["nan", "1.0", " 1", "-0", "1e5", "9" * 5000, "\u0661", "1.00"]),
)


@trials()
@given(labels=st.lists(LABELS, min_size=1, max_size=6))
def test_labels(arena: Arena, labels: list[Any]) -> None:
    """Whatever is read as a label is text that is read as the same label again."""
    path = arena.inside / "rows.jsonl"
    path.write_bytes(jsonl([{"text": "x", "label": one} for one in labels]))
    arena.attempt("labels", lambda: rows_of(path))

    def read() -> None:
        reader = LabelReader()
        found = [reader.read({"label": one}, 1) for one in labels]
        assert found == [reader.read({"label": one}, 1) for one in found]
        names = [one for one in found if one is not None]
        assert label_counts(Counter(names), in_order(set(names)))

    arena.attempt("labels", read)


@trials()
@given(data=st.data())
def test_quoting(arena: Arena, data: st.DataObject) -> None:
    """What csv has written is read back, in the dialect it was written in."""
    cell = st.text(st.sampled_from('ab"\\,\t\n \u2028'), max_size=6)
    rows = data.draw(st.lists(st.tuples(cell, cell), min_size=1, max_size=4))
    quoting = data.draw(st.sampled_from(["csv", "backslash"]))
    suffix, separator = data.draw(st.sampled_from([(".csv", ","), (".tsv", "\t")]))
    options: Any = {} if quoting == "csv" else {"doublequote": False, "escapechar": "\\"}
    path = arena.inside / f"rows{suffix}"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL, **options)
        writer.writerows([("one", "two"), *rows])

    def read() -> None:
        found = read_rows(path, ["one", "two"], quoting=quoting)
        assert [(row["one"], row["two"]) for row in found] == rows

    error = arena.attempt("quoting", read)
    assert error is None or ".tsv" in str(error)  # a tab and a line's end in one field
    arena.attempt("quoting", lambda: read_rows(path, quoting="none"))


@pytest.mark.parametrize("name", TABLES)
def test_tables(arena: Arena, name: str) -> None:
    path = arena.inside / "table.parquet"
    path.write_bytes(TABLES[name])
    error = arena.attempt("Parquet", lambda: rows_of(path))
    if name in ("good", "bomb"):
        assert (error is None) == (name == "good")


@trials()
@given(data=st.data())
def test_prediction_input(arena: Arena, data: st.DataObject) -> None:
    content = st.lists(json_bytes(ROWS[0], str(arena.canary)), min_size=1, max_size=3)
    path, output = arena.inside / "in.jsonl", arena.inside / "out.jsonl"
    path.write_bytes(b"\n".join(data.draw(content)))
    output.unlink(missing_ok=True)

    def predict() -> None:
        with new_file(output, "--output") as file:
            rows = read_input(path, TASK.check_row, "prediction")
            found = {"e": [RECORD] * len(rows)}
            write_rows(file, "jsonl", answered_rows(rows, "prediction", found))
        assert len(output.read_bytes().splitlines()) == len(rows)

    arena.attempt("prediction input", predict)


@trials()
@given(data=st.data())
def test_names_of_files(arena: Arena, data: st.DataObject) -> None:
    """`task.train` is a file inside `task.path`, and nowhere else."""
    (arena.inside / "data").mkdir(exist_ok=True)
    ways = [
        str(arena.outside / "rows.jsonl"),
        "../../outside/rows.jsonl",
        "a/../../../outside/rows.jsonl",
    ]
    texts = file_names(str(arena.canary)).filter(bool)
    # What stands for a home or a variable is no name of a file yet.
    plain = texts.filter(lambda text: not text.startswith("~") and "$" not in text)
    name = data.draw(st.sampled_from(ways) | plain)
    folder = data.draw(st.sampled_from(["data", ".", "no/such"]) | plain)

    task = Classification(name="demo", path=folder, train=name)
    assert arena.attempt("data path", lambda: build_task(task)) is not None


@trials(0.3)
@given(name=file_names("canary"))
def test_names_of_outputs(arena: Arena, name: str) -> None:
    rows: list[Any] = [{"text": "x"}]

    def write() -> None:
        path = arena.inside / "new" / Path(name).name
        path.parent.mkdir(exist_ok=True)
        with new_file(path, f"--output {path}") as file:
            write_rows(file, "jsonl", answered_rows(rows, "prediction", {"e": [RECORD]}))

    arena.attempt("prediction output", write)


def test_good_rows_are_accepted(arena: Arena) -> None:
    path = arena.inside / "rows.jsonl"
    path.write_bytes(jsonl(ROWS))
    assert arena.attempt("control", lambda: rows_of(path)) is None
    path.write_bytes(jsonl([{"text": "x"}]))
    with pytest.raises(UserError, match="no column 'label'"):
        rows_of(path)
