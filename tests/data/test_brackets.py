"""CoNLL-2005's props and CoNLL-2012's _conll files, and brackets that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptv2_scale.data.brackets import Conll2012Reader, PropsReader, tags_of, words_of
from ptv2_scale.data.formats import READERS
from ptv2_scale.data.sources import read_rows
from ptv2_scale.runtime.errors import UserError

WORDS = "The\ncat\nsat\ndown\nand\nslept\n.\n\nYes\n.\n\nIt\nrained\n"
PROPS = """\
-         (A0*      (A0*
-            *)        *)
sit        (V*         *
-            *)        *
-            *         *
sleep        *       (V*)
-            *         *

-
-

-    *
rain (V*)
"""
ROWS = [
    {
        "tokens": ["The", "cat", "sat", "down", "and", "slept", "."],
        "index": 2,
        "tags": ["B-A0", "I-A0", "B-V", "I-V", "O", "O", "O"],
    },
    {
        "tokens": ["The", "cat", "sat", "down", "and", "slept", "."],
        "index": 5,
        "tags": ["B-A0", "I-A0", "O", "O", "O", "B-V", "O"],
    },
    {"tokens": ["It", "rained"], "index": 1, "tags": ["O", "B-V"]},
]
CONLL2012 = """\
#begin document (nw/xinhua/00/chtb_0001); part 000
nw/xinhua/00/chtb_0001 0 0 Mr.   NNP (TOP(S(NP* -    -  - Xi (PERSON* (ARG1*  (ARG0*  (12
nw/xinhua/00/chtb_0001 0 1 Hu    NNP *)         -    -  - Xi *)       *)      *)      12)
nw/xinhua/00/chtb_0001 0 2 was   VBD (VP*       be   03 1 Xi *        (V*)    *       -
nw/xinhua/00/chtb_0001 0 3 asked VBN (VP*       ask  02 - Xi *        *       (V*)    -
nw/xinhua/00/chtb_0001 0 4 #     NN  *))))      -    -  - Xi (GPE)    *       (ARG2*) -

nw/xinhua/00/chtb_0001 0 0 Yes   UH  (TOP(INTJ*)) -  -  - Xi *        -
#end document
"""


def read(path: Path, reader: Any) -> list[dict[str, object]]:
    return read_rows(path, readers={**READERS, "": reader})


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("words", "props"),
    [("a.words", "a.props"), ("words/dev.24.words", "props/dev.24.props")],
)
def test_words_and_props_apart(words: str, props: str, tmp_path: Path) -> None:
    write(tmp_path, words, WORDS.replace("cat", "cat NN"))
    path = write(tmp_path, props, PROPS)
    assert words_of(path) == tmp_path / words
    rows = read(path, PropsReader())
    assert rows == ROWS
    assert [row.place for row in rows] == [f"{path}:{n}" for n in (3, 6, 13)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("between", [" ", "\t"])
def test_words_and_props_pasted_side_by_side(between: str, tmp_path: Path) -> None:
    pairs = zip(WORDS.splitlines(), PROPS.splitlines(), strict=True)
    lines = [between.join([word, *rest.split()]) if word else "" for word, rest in pairs]
    assert read(write(tmp_path, "train.txt", "\n".join(lines)), PropsReader()) == ROWS


def test_roles_of_conll2012(tmp_path: Path) -> None:
    rows = read(write(tmp_path, "a.v4_gold_conll", CONLL2012), Conll2012Reader())
    assert rows == [
        {"tokens": ["Mr.", "Hu", "was", "asked", "#"], "index": 2,
         "tags": ["B-ARG1", "I-ARG1", "B-V", "O", "O"]},
        {"tokens": ["Mr.", "Hu", "was", "asked", "#"], "index": 3,
         "tags": ["B-ARG0", "I-ARG0", "O", "B-V", "B-ARG2"]},
    ]  # fmt: skip
    assert [str(row.place)[-2:] for row in rows] == [":4", ":5"]  # type: ignore[attr-defined]


def test_entities_of_conll2012(tmp_path: Path) -> None:
    path = write(tmp_path, "a.v4_gold_conll", CONLL2012)
    assert read(path, Conll2012Reader(roles=False)) == [
        {"tokens": ["Mr.", "Hu", "was", "asked", "#"],
         "tags": ["B-PERSON", "I-PERSON", "O", "O", "B-GPE"]},
        {"tokens": ["Yes"], "tags": ["O"]},
    ]  # fmt: skip


# Spans as a list of lengths and types: what brackets and tags both stand for.
SPANS = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from([None, "A0", "AM-TMP", "C-A1"])), min_size=1
)


def bracketed(spans: list[tuple[int, str | None]]) -> list[str]:
    """The official notation, written from its description."""
    column = []
    for length, kind in spans:
        words = ["*"] * length
        if kind is not None:
            words[0] = f"({kind}" + words[0]
            words[-1] += ")"
        column += words
    return column


@given(SPANS)
def test_spans_come_back_from_the_tags(spans: list[tuple[int, str | None]]) -> None:
    tags = tags_of(bracketed(spans))
    found: list[tuple[int, str | None]] = []
    for tag in tags:
        if tag.startswith("I-"):
            length, kind = found.pop()
            assert kind == tag[2:]
            found.append((length + 1, kind))
        else:
            found.append((1, None if tag == "O" else tag[2:]))
    singles = [(1, None) for length, kind in spans if kind is None for _ in range(length)]
    assert [one for one in found if one[1]] == [one for one in spans if one[1]]
    assert [one for one in found if not one[1]] == singles
    assert bracketed(found) == bracketed(spans)


@pytest.mark.parametrize(
    ("brackets", "message"),
    [
        (["(A0*", "*"], "the span of A0 does not end"),
        (["*)", "*"], r"word 1: '\*\)' ends a span that has not begun"),
        (["(A0*", "(A1*)", "*)"], "word 2: .* begins inside of the span of A0"),
        (["A0", "*"], r"word 1: found 'A0', expected '\*'"),
        (["(A0*))"], "word 1: found"),
        (["()"], "word 1: found"),
    ],
)
def test_brackets_that_are_none(brackets: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tags_of(brackets)


def refusal(path: Path, reader: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path, reader)
    return str(caught.value)


def test_files_that_do_not_go_together(tmp_path: Path) -> None:
    path = write(tmp_path, "a.props", PROPS)
    missing = f"looked for in {tmp_path / 'a.words'}, which is not there"
    assert missing in refusal(path, PropsReader())
    words = write(tmp_path, "a.words", WORDS.replace("Yes\n", ""))
    assert refusal(path, PropsReader()).startswith(f"{path}:10: a word here or in {words}")
    words.write_text(WORDS + "more\n")
    assert f"{path}:14: a word here or in" in refusal(path, PropsReader())


def test_columns_that_are_not_those_of_the_predicates(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "It - *\nrained - *\n")
    assert f"{path}:1: a sentence with 0 predicates and 1 columns" in refusal(path, PropsReader())
    path.write_text("It - *\nrained rain\n")
    assert f"{path}:2: found 2 columns ('rained'), expected 3" in refusal(path, PropsReader())
    path.write_text("It - (A0*\nrained rain (V*)\n")
    assert f"{path}:1: column 3 of this sentence, word 2" in refusal(path, PropsReader())
    path.write_text(CONLL2012.replace("(V*)    -", "*       -"))
    assert f"{path}:2: column 13 of this sentence has no (V*)" in refusal(path, Conll2012Reader())
    path.write_text("It PRP\nrained VBD\n")
    assert f"{path}:1: found 2 columns, expected the 11" in refusal(path, Conll2012Reader())
