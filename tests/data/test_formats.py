"""What csv, json and pyarrow write is read back; every mistake is told with file and line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pyarrow.parquet
import pytest

from ptv2_scale.config import Quoting
from ptv2_scale.data import formats
from ptv2_scale.data.rows import place_of
from ptv2_scale.data.sources import read_rows
from ptv2_scale.runtime.errors import UserError

ROWS = [
    {"text": "plain", "label": "a"},
    {"text": 'with "quotes", a comma\nand a line', "label": "b"},
    {"text": "ümläut 漢字 \u2028 end", "label": "a"},
]


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_jsonl(tmp_path: Path) -> None:
    text = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    assert read_rows(written(tmp_path, "a.jsonl", text)) == ROWS


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows(ROWS)
    assert read_rows(path) == ROWS


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    assert read_rows(path) == ROWS


def test_tsv_without_quoting_and_a_byte_order_mark(tmp_path: Path) -> None:
    content = '\ufefftext\tlabel\n"lone quote\ta\r\nit\'s "fine"\tb\n'
    assert read_rows(written(tmp_path, "a.tsv", content), quoting="none") == [
        {"text": '"lone quote', "label": "a"},
        {"text": 'it\'s "fine"', "label": "b"},
    ]


WILD = [
    'he said "hi"',
    '"quoted"',
    '"half',
    'ends with "',
    "a tab\tinside",
    "two\nlines",
    '""',
    '"',
    "comma, semicolon; 'single'",
    "C:\\new\\table",
    "# no comment",
    " space around ",
]


def wild(folder: Path, name: str, **options: Any) -> Path:
    """A table as pandas writes it, and pandas is what it is compared with."""
    path = folder / name
    numbers = [n % 2 for n in range(len(WILD))]
    pandas.DataFrame({"text": WILD, "label": numbers}).to_csv(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quoting": csv.QUOTE_ALL},
        {"quoting": csv.QUOTE_NONNUMERIC},
        {"lineterminator": "\r\n", "encoding": "utf-8-sig"},  # a spreadsheet's
    ],
)
def test_what_pandas_writes(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    separator = {"csv": ",", "tsv": "\t"}[suffix]
    for index in (False, True):
        path = wild(tmp_path, f"a.{suffix}", sep=separator, index=index, **options)
        read = pandas.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
        assert read["text"].tolist() == WILD
        assert [row["text"] for row in read_rows(path, ["text", "label"])] == WILD
        assert [row["label"] for row in read_rows(path)] == read["label"].tolist()


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONE])
def test_what_pandas_writes_with_backslashes(tmp_path: Path, quoting: Any) -> None:
    path = wild(
        tmp_path,
        "a.tsv",
        sep="\t",
        index=False,
        quoting=quoting,
        doublequote=False,
        escapechar="\\",
    )
    assert [row["text"] for row in read_rows(path, quoting="backslash")] == WILD


SPREADSHEET = Path(__file__).parents[1] / "fixtures" / "spreadsheet"
# The cells of the sheet: text, text that looks like numbers, numbers.
CELLS = [
    ("plain words", "007", "1"),
    ("one, two; three", "0042", "0"),
    ('she said "hello"', "1e5", "1"),
    ('"all quoted"', "00", "0"),
    ("two\nlines", "-1", "1"),
    ("naïve café — 漢字 Straße", "0,5", "0"),
    ("it's 'single'", "TRUE", "1"),
    ("=1+1", "12/11", "0"),
    ('"', "", "1"),
    ("a\\tb \\ c:\\new", "3.50", "0"),
]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "byte-order mark"])
@pytest.mark.parametrize("name", ["comma.csv", "quoted.csv", "tab.tsv"])
def test_what_a_spreadsheet_writes(name: str, mark: bytes, tmp_path: Path) -> None:
    path = written(tmp_path, name, mark + (SPREADSHEET / name).read_bytes())
    rows = read_rows(path, ["text", "label"])
    assert [(row["text"], row["code"], row["label"]) for row in rows] == CELLS


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("semicolon.csv", "no column 'text'; found: text;code;label.*Separate fields by commas"),
        ("utf16.csv", "utf16.csv:1: not UTF-8 text.*save the file as UTF-8"),
        ("windows-1252.csv", "windows-1252.csv:8: not UTF-8 text.*save the file as UTF-8"),
    ],
)
def test_what_a_spreadsheet_writes_otherwise_is_told(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_rows(SPREADSHEET / name, ["text", "label"])


def as_r(rows: list[tuple[str, str]], double: bool) -> str:
    """What R's write.table(sep="\\t", row.names=FALSE) writes: text quoted, numbers not."""
    quote = '""' if double else '\\"'
    lines = ["\t".join((text.replace('"', quote).join('""'), label)) for text, label in rows]
    return '"text"\t"label"\n' + "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize(("double", "quoting"), [(True, "csv"), (False, "backslash")])
def test_what_r_writes(tmp_path: Path, double: bool, quoting: Quoting) -> None:
    path = written(tmp_path, "a.tsv", as_r([(text, "1") for text in WILD], double))
    assert [row["text"] for row in read_rows(path, quoting=quoting)] == WILD
    if not double:
        with pytest.raises(UserError, match=r"a.tsv:\d+: not CSV: .*task.quoting.*backslash"):
            read_rows(path)


def test_names_of_rs_rows_are_no_column(tmp_path: Path) -> None:
    path = written(tmp_path, "a.tsv", '"text"\t"label"\n"1"\t"good"\t1\n')
    with pytest.raises(UserError, match=r"a.tsv:2: found 3 fields, expected 2.*row.names=FALSE"):
        read_rows(path)


@pytest.mark.parametrize(
    "content",
    [
        '"Great" movie\t1\nbad\t0\n',
        '"half\t1\nbad\t0\n',
        '"half\t1\nother half"\t0\n',  # as quoted fields: one row of two lines
        '"half\t1\nbad\t0\nother half"\t0\n',
    ],
)
def test_a_table_without_quoting_is_not_read_as_quoted(tmp_path: Path, content: str) -> None:
    path = written(tmp_path, "a.tsv", f"text\tlabel\nfine\t1\n{content}")
    with pytest.raises(UserError, match=r"a.tsv:3: .*task.quoting.*none"):
        read_rows(path)
    expected = [line.split("\t") for line in content.splitlines()]
    found = read_rows(path, quoting="none")[1:]
    assert [[row["text"], row["label"]] for row in found] == expected


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", ",")])
def test_another_separator_is_told(tmp_path: Path, name: str, separator: str) -> None:
    for row in (f"w1{separator}1", f'"""w1"" w2"{separator}1', f'"w1"{separator}"1"'):
        for head in (f"text{separator}label", f'"text"{separator}"label"'):
            path = written(tmp_path, name, f"{head}\n{row}\n")
            with pytest.raises(UserError, match=r":1: .*commas in .csv, by tabs in .tsv"):
                read_rows(path, ["text", "label"])


def test_a_record_of_several_lines_is_named_by_its_first(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'text,label\n"one\ntwo\nthree",a\n\n"x\ny",b\n')
    places = [place_of(row, 0) for row in read_rows(path)]
    assert places == [f"{path}:2", f"{path}:6"]


def test_header_of_a_table_without_one(tmp_path: Path) -> None:
    path = written(tmp_path, "a.tsv", "one\t1\ntwo\t0\n")
    assert read_rows(path, header=("text", "label"))[1] == {"text": "two", "label": "0"}


def test_a_csv_field_may_be_longer_than_pythons_default(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    path = written(tmp_path, "a.csv", "text\n" + "x" * 200_000 + "\n")
    assert len(str(read_rows(path)[0]["text"])) == 200_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("name", "content", "reported"),
    [
        ("a.jsonl", '{"text": "x"}\n{"text": \n', "a.jsonl:2: not JSON"),
        ("a.jsonl", '\n["x"]\n', 'a.jsonl:2: found ["x"], expected one JSON object'),
        ("a.jsonl", "[" * 200_000, "a.jsonl:1: JSON nested too deeply"),
        ("a.jsonl", '{"a": ' + "9" * 5000 + "}", "a.jsonl:1: not JSON"),
        ("a.jsonl", b'{"text": "x"}\n{"text": "\xe9"}\n', "a.jsonl:2: not UTF-8"),
        ("a.jsonl", "", "a.jsonl: the file holds no rows"),
        ("a.csv", "text,label\n", "a.csv: the file holds no rows"),
        ("a.csv", "text,label\nx,a\ny\n", "a.csv:3: found 1 fields, expected 2: text, label"),
        ("a.csv", 'text,label\nx,a\n"y,b\n', "a.csv:3: not CSV"),
        ("a.csv", "text,text\nx,a\n", "a.csv:1: two columns have the same name"),
        ("a.tsv", "text\tlabel\nx\ta\tb\n", "a.tsv:2: found 3 fields"),
        ("a.parquet", "nonsense", "a.parquet: not a Parquet file"),
        ("a.jsonl.gz", "x", "the kind '.gz' is not known; allowed: .jsonl, .csv, .tsv, .parquet"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: str | bytes, reported: str) -> None:
    with pytest.raises(UserError) as error:
        read_rows(written(tmp_path, name, content))
    assert reported in str(error.value)


def test_too_long_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_LINE_BYTES", 1024**2)
    path = written(tmp_path, "a.jsonl", '{"text": "x"}\n{"text": "' + "x" * 1024**2 + '"}\n')
    with pytest.raises(UserError, match=r"a.jsonl:2: the line is longer than 1 MiB"):
        read_rows(path)


def test_missing_column_names_the_line_and_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"sentence": "x"}\n{"sentense": "y"}\n')
    with pytest.raises(UserError) as error:
        read_rows(path, columns=("sentence",))
    assert "a.jsonl:2: no column 'sentence'; found: sentense." in str(error.value)
    assert "Did you mean 'sentense'?" in str(error.value)


def test_missing_file_names_a_near_one(tmp_path: Path) -> None:
    written(tmp_path, "train.jsonl", "{}")
    with pytest.raises(UserError, match=r"no such file. Did you mean 'train.jsonl'"):
        read_rows(tmp_path / "trian.jsonl")


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = written(tmp_path, "a.jsonl", "{}")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        read_rows(path)
