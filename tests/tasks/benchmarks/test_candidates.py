"""SuperGLUE's rows with candidates, as its files and the hub have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptv2_scale.data.rows import PlacedRow
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Task
from ptv2_scale.tasks.benchmarks import candidates

TaskOf = Callable[..., Task]

COPA = {
    "premise": "The man turned on the faucet.", "choice1": "The toilet filled with water.",
    "choice2": "Water flowed from the spout.", "question": "effect", "label": 1, "idx": 0,
}  # fmt: skip
ANSWERS = [
    {"text": "No", "idx": 0, "label": 0},
    {"text": "Yes", "idx": 1, "label": 1},
    {"text": "", "idx": 2, "label": 0},
]
MULTIRC = {
    "idx": 4, "version": 1.1,
    "passage": {
        "text": "A force moves it.",
        "questions": [
            {"question": "Does it move?", "answers": ANSWERS, "idx": 0},
            {"question": "What moves it?", "answers": [{"text": "A force", "label": 1}], "idx": 1},
        ],
    },
}  # fmt: skip
PASSAGE = "Costa of Chelsea beat Olimpija\n@highlight\nChelsea won!\n@highlight\nCosta scored"
NAMES = [("Olimpija", 0), ("Chelsea", 0), ("Costa", 0), ("Chelsea", 20), ("Costa", 20)]
ENTITIES = [
    (place, place + len(one) - 1) for one, at in NAMES for place in [PASSAGE.index(one, at)]
]
RECORD = {
    "idx": 7, "source": "Daily mail",
    "passage": {
        "text": PASSAGE, "entities": [{"start": start, "end": end} for start, end in ENTITIES],
    },
    "qas": [
        {
            "query": "It was @placeholder who won.", "idx": 9,
            "answers": [{"start": 9, "end": 15, "text": "Chelsea"}],
        }
    ],
}  # fmt: skip


def placed(row: dict[str, Any]) -> PlacedRow:
    return PlacedRow(row, "f:1")


@pytest.mark.parametrize("label", [1, "1", "choice2"])
def test_copa(label: object) -> None:
    (found,) = candidates.copa(placed({**COPA, "label": label}))
    assert found.candidates == (COPA["choice1"], COPA["choice2"])
    assert found.right == {1}
    premise = ("premise", "The man turned on the faucet. so")
    assert found.texts == (
        (premise, ("choice", COPA["choice1"])),
        (premise, ("choice", COPA["choice2"])),
    )
    (asked,) = candidates.copa(placed({**COPA, "question": "cause", "label": None}))
    assert asked.texts[0][0] == ("premise", "The man turned on the faucet. because")
    assert asked.right is None


def test_multirc() -> None:
    first, second = candidates.multirc(placed(MULTIRC))
    assert (first.candidates, first.right) == (("No", "Yes", ""), {1})
    assert (second.candidates, second.right) == (("A force",), {0})
    assert first.texts[1] == (
        ("paragraph", "A force moves it."), ("question", "Does it move?"), ("answer", "Yes"),
    )  # fmt: skip


def test_multirc_as_the_hub_has_it() -> None:
    first, _ = candidates.multirc(placed(MULTIRC))
    rows = [
        {
            "paragraph": "A force moves it.", "question": "Does it move?", "answer": one["text"],
            "label": ("False", "True")[int(str(one["label"]))],
            "idx": {"paragraph": 4, "question": 0, "answer": one["idx"]},
        }
        for one in ANSWERS
    ]  # fmt: skip
    found = [question for row in rows for question in candidates.multirc(placed(row))]
    assert tuple(one.texts[0] for one in found) == first.texts
    assert [one.right for one in found] == [frozenset(), {0}, frozenset()]
    assert {one.group for one in found} == {(4, 0)}


def test_record() -> None:
    (found,) = candidates.record(placed(RECORD))
    assert found.candidates == ("Costa", "Chelsea", "Olimpija")
    assert (found.right, found.answers) == ({1}, ("Chelsea",))
    assert found.texts[1] == (
        ("passage", "Costa of Chelsea beat Olimpija. Chelsea won! Costa scored"),
        ("query", "It was Chelsea who won."),
    )


def test_record_as_the_hub_has_it() -> None:
    (official,) = candidates.record(placed(RECORD))
    row = {
        "passage": PASSAGE, "query": "It was @placeholder who won.", "answers": ["Chelsea"],
        "entities": ["Costa", "Chelsea", "Olimpija", "Chelsea"], "idx": {"passage": 7, "query": 9},
    }  # fmt: skip
    assert candidates.record(placed(row)) == [official]
    assert candidates.record(placed({**row, "answers": []}))[0].right is None


def asked(answers: list[Any]) -> dict[str, Any]:
    return {"passage": {"text": "x", "questions": [{"question": "y", "answers": answers}]}}


def changed(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**row, **changes}


@pytest.mark.parametrize(
    ("read", "row", "reported"),
    [
        (candidates.copa, changed(COPA, question="why"), "f:1: found the question 'why', allowed"),
        (candidates.copa, changed(COPA, label=2), "f:1: found the label 2, allowed: 0, 1"),
        (candidates.copa, changed(COPA, choice2=" "), "f:1, column 'choice2': the text is empty"),
        (candidates.multirc, {"idx": 1}, "f:1: no column 'passage'"),
        (candidates.multirc, {"passage": "x"}, "f:1, passage: found 'x', expected an object"),
        (
            candidates.multirc,
            {"passage": {"text": "x", "questions": []}},
            "f:1, passage, column 'questions': found [], expected a list that is not empty",
        ),
        (
            candidates.multirc,
            asked([{"text": "z", "label": 7}]),
            "f:1, passage, questions[0], answers[0]: found the label 7, allowed: 0, 1",
        ),
        (
            candidates.multirc,
            asked([*ANSWERS, {"text": "z"}]),
            "f:1, passage, questions[0]: candidate 3 has no label, and others have one",
        ),
        (
            candidates.record,
            changed(RECORD, passage={"text": "x", "entities": [{"start": 0, "end": 1}]}),
            "f:1, passage, entities[0]: found start 0 and end 1",
        ),
        (candidates.record, changed(RECORD, qas=[{"query": "who?"}]), "query has no @placeholder"),
    ],
)  # fmt: skip
def test_rows_that_are_none(read: Any, row: dict[str, Any], reported: str) -> None:
    with pytest.raises(UserError) as error:
        read(placed(row))
    assert reported in str(error.value)


@pytest.mark.parametrize(
    ("name", "folder", "validation", "train"),
    [
        ("superglue/copa", "superglue/COPA", "val.jsonl", (400, 400, 800, 400)),
        ("superglue/multirc", "superglue/MultiRC", "val.jsonl", (456, 5131, 27243, 12025)),
        ("superglue/record", "superglue_32shot/ReCoRD", "dev32.jsonl", (32, 32, 397, 44)),
    ],
)
def test_official_files(
    task_of: TaskOf, material: Path, name: str, folder: str, validation: str,
    train: tuple[int, int, int, int],
) -> None:  # fmt: skip
    task = task_of(name=name, path=str(material / "data" / folder), validation=validation)
    rows = task.rows("train")
    rows_of_train, questions, texts, right = train
    said, *doubts = task.describe_rows(rows)
    # MultiRC itself has questions with the same candidate twice.
    assert all(one.startswith("warning: ") and "candidate twice" in one for one in doubts)
    assert len(rows) == rows_of_train
    assert said.startswith(f"{questions} questions with ")
    assert said.endswith(f": {texts} candidates, {right} of them right")
    assert task.trivial(task.rows("validation")).value < 0.61


def test_every_published_row_has_a_right_entity(task_of: TaskOf, material: Path) -> None:
    task = task_of(name="superglue/record", path=str(material / "data/superglue_32shot/ReCoRD"))
    rows = task.rows("train")
    found = [one for row in rows for one in candidates.record(PlacedRow(row, ""))]
    assert all(one.right for one in found)
    assert all(set(one.answers) & set(one.candidates) for one in found)
