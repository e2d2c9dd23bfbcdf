"""SQuAD's nesting becomes rows of one question each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptv2_scale.data.sources import read_rows
from ptv2_scale.data.squad import read_squad
from ptv2_scale.runtime.errors import UserError

Change = Callable[[Any], None]


def document() -> dict[str, Any]:
    answer = {"text": "Oslo", "answer_start": 0}
    questions = [
        {"id": "q1", "question": "Where?", "answers": [answer, dict(answer)]},
        {"id": "q2", "question": "When?", "is_impossible": True, "answers": [],
         "plausible_answers": [answer]},
        {"id": "q3", "question": "Who?"},
    ]  # fmt: skip
    paragraph = {"context": "Oslo is cold.", "qas": questions}
    return {"version": "v2.0", "data": [{"title": "Norway", "paragraphs": [paragraph]}]}


def read(folder: Path, content: Any) -> list[dict[str, object]]:
    path = folder / "dev.json"
    path.write_text(json.dumps(content))
    return read_rows(path, ("question", "context"), readers={".json": read_squad})


def test_rows(tmp_path: Path) -> None:
    rows = read(tmp_path, document())
    assert [row["id"] for row in rows] == ["q1", "q2", "q3"]
    assert {row["context"] for row in rows} == {"Oslo is cold."}
    assert [row.get("answers") for row in rows] == [
        {"text": ["Oslo", "Oslo"], "answer_start": [0, 0]},
        {"text": [], "answer_start": []},
        None,
    ]
    assert rows[2].place == f"{tmp_path}/dev.json:row 3"  # type: ignore[attr-defined]
    assert read(tmp_path, [dict(row) for row in rows]) == rows  # flat rows, as the hub has them


def without(part: str) -> Change:
    def change(found: Any) -> None:
        paragraph = found["data"][0]["paragraphs"][0]
        {"data": found, "context": paragraph, "question": paragraph["qas"][1]}[part].pop(part)

    return change


def spoil_answer(found: Any) -> None:
    found["data"][0]["paragraphs"][0]["qas"][0]["answers"][1]["answer_start"] = "0"


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        (without("data"), "dev.json: 'data' is None, which is not as in SQuAD's"),
        (without("context"), r"data\[0\].paragraphs\[0\]: 'context' is None"),
        (without("question"), r"data\[0\].paragraphs\[0\].qas\[1\]: 'question' is None"),
        (spoil_answer, r"qas\[0\].answers\[1\]: 'answer_start' is '0'"),
    ],
)
def test_mistakes(tmp_path: Path, change: Change, reported: str) -> None:
    found = document()
    change(found)
    with pytest.raises(UserError, match=reported):
        read(tmp_path, found)


@pytest.mark.parametrize(
    ("name", "contexts", "questions"),
    [("dev-v1.1_train38.json", 1638, 8615), ("dev-v1.1_heldout10.json", 429, 1955)],
)
def test_squad_as_published(material: Path, name: str, contexts: int, questions: int) -> None:
    rows = read_rows(material / "data/squad" / name, readers={".json": read_squad})
    assert (len({row["context"] for row in rows}), len(rows)) == (contexts, questions)
