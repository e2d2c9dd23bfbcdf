"""CoNLL's columns and P-Tuning v2's lines for semantic roles, as they are published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ptv2_scale.data.columns import ColumnReader, PredicateReader
from ptv2_scale.data.formats import READERS
from ptv2_scale.data.sources import read_rows
from ptv2_scale.runtime.errors import UserError

CONLL2003 = """-DOCSTART- -X- O O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
German JJ I-NP I-MISC

-DOCSTART- -X- O O
Peter NNP I-NP I-PER
"""
ONTONOTES = "1\tA\u00a0b\tx\tO\n2\tParis\tx\tB-GPE\n \t \n1\tNow\tx\tO"


def read(folder: Path, content: str, reader: Any, name: str = "a.txt") -> list[dict[str, object]]:
    path = folder / name
    path.write_bytes(content.encode())
    return read_rows(path, readers={**READERS, "": reader})


def test_conll2003(tmp_path: Path) -> None:
    expected = [
        {"tokens": ["EU", "rejects", "German"], "tags": ["I-ORG", "O", "I-MISC"]},
        {"tokens": ["Peter"], "tags": ["I-PER"]},
    ]
    assert read(tmp_path, CONLL2003, ColumnReader()) == expected
    assert read(tmp_path, CONLL2003.replace("\n", "\r\n"), ColumnReader()) == expected
    pos = read(tmp_path, CONLL2003, ColumnReader(tag=2))
    assert pos[0]["tags"] == ["NNP", "VBZ", "JJ"]
    assert [row.place for row in pos] == [f"{tmp_path}/a.txt:3", f"{tmp_path}/a.txt:8"]  # type: ignore[attr-defined]


def test_tabs_keep_words_with_spaces_and_lines_of_tabs_end_sentences(tmp_path: Path) -> None:
    assert read(tmp_path, ONTONOTES, ColumnReader(word=2), "a.conllx") == [
        {"tokens": ["A\u00a0b", "Paris"], "tags": ["O", "B-GPE"]},
        {"tokens": ["Now"], "tags": ["O"]},
    ]


def test_comments_are_left_out_where_a_key_says_so(tmp_path: Path) -> None:
    content = "# sent_id = 1\n#\tO\nyes\tO\n"
    with pytest.raises(UserError, match=r"a.txt:2: found 2 columns.*line before has 4"):
        read(tmp_path, content, ColumnReader())
    assert read(tmp_path, content, ColumnReader(comments=True)) == [
        {"tokens": ["yes"], "tags": ["O"]}
    ]


def test_words_without_tags(tmp_path: Path) -> None:
    assert read(tmp_path, "one\ntwo\n", ColumnReader()) == [{"tokens": ["one", "two"]}]


@pytest.mark.parametrize(
    ("content", "reader", "reported"),
    [
        ("a O\nb\n", ColumnReader(), r"a.txt:2: found 1 columns \('b'\), but the line before has"),
        ("a O\n", ColumnReader(tag=4), "a.txt:1: found 2 columns.*task.tag_column is 4"),
        ("a O\n", ColumnReader(word=-3), "a.txt:1: found 2 columns.*task.word_column is -3"),
        ("\n\n", ColumnReader(), "the file holds no rows"),
        ("a b ||| O O\n", PredicateReader(), "a.txt:1: found 'a b .*the predicate's number"),
    ],
)
def test_mistakes(tmp_path: Path, content: str, reader: Any, reported: str) -> None:
    with pytest.raises(UserError, match=reported):
        read(tmp_path, content, reader)


def test_lines_of_semantic_roles(tmp_path: Path) -> None:
    content = "1 The cat sat ||| B-A0 I-A0 B-V\n\n0 Go ! ||| B-V O\n2 no tags yet\n"
    assert read(tmp_path, content, PredicateReader()) == [
        {"index": 1, "tokens": ["The", "cat", "sat"], "tags": ["B-A0", "I-A0", "B-V"]},
        {"index": 0, "tokens": ["Go", "!"], "tags": ["B-V", "O"]},
        {"index": 2, "tokens": ["no", "tags", "yet"]},
    ]


WNUT17 = {
    "wnut17train.conll": (3394, 62730),
    "emerging.dev.conll": (1009, 15733),
    "emerging.test.annotated": (1287, 23394),
}


@pytest.mark.parametrize("name", WNUT17)
def test_wnut17_as_published(material: Path, name: str) -> None:
    rows = read_rows(material / "data/wnut17" / name, readers={"": ColumnReader()})
    words = sum(len(row["tokens"]) for row in rows)  # type: ignore[arg-type]
    assert (len(rows), words) == WNUT17[name]


def test_line_ends_that_are_none(tmp_path: Path) -> None:
    """Else a file of old Macs were one line, and its sentences one word."""
    with pytest.raises(UserError, match=r"a.txt:1: lines end with a carriage return alone"):
        read(tmp_path, "EU\tB-ORG\rrejects\tO\r", ColumnReader())
