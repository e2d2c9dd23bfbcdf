"""Candidates of one's own data: what is read, and every mistake with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Task

TaskOf = Callable[..., Task]
GOOD = {"q": "w1", "options": ["w2", "w3", "w4"], "right": 1}


@pytest.fixture
def own(tmp_path: Path) -> dict[str, Any]:
    return {
        "name": "choice", "path": str(tmp_path), "train": "train.jsonl", "question": "q",
        "candidates": ["options"], "answer": "right",
    }  # fmt: skip


def write(own: dict[str, Any], *rows: dict[str, Any]) -> None:
    path = Path(own["path"]) / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def targets(task: Task, words: Any) -> list[Any]:
    return [one.target for one in task.encode(task.rows("train"), words, "pair", 16)]


def test_numbers_and_texts_say_which_is_right(
    task_of: TaskOf, own: dict[str, Any], words: Any
) -> None:
    write(own, GOOD, {**GOOD, "right": "w4"}, {**GOOD, "right": [0]}, {**GOOD, "right": " 2 "})
    assert targets(task_of(**own), words) == [1, 2, 0, 2]


def test_any_number_may_be_right(task_of: TaskOf, own: dict[str, Any], words: Any) -> None:
    write(own, {**GOOD, "right": [0, "w4"]}, {**GOOD, "options": ["w5"], "right": []})
    assert targets(task_of(**own, choose="any"), words) == [1, 0, 1, 0]


def test_a_column_for_each_candidate(task_of: TaskOf, own: dict[str, Any], words: Any) -> None:
    (Path(own["path"]) / "train.csv").write_text("q,a,b,right\nw1,w2,w3,1\nw1,w4,w5,w4\n")
    keys = {**own, "train": "train.csv", "candidates": ["a", "b"], "context": "q"}
    del keys["question"]
    task = task_of(**keys)
    assert task.columns == ("q", "a", "b")
    assert targets(task, words) == [1, 0]
    (first, _) = task.encode(task.rows("train"), words, "pair", 16)
    assert first.lines("input_ids") == [[2, 101, 3, 102, 3], [2, 101, 3, 103, 3]]


def test_candidates_alone(task_of: TaskOf, own: dict[str, Any], words: Any) -> None:
    write(own, GOOD)
    del own["question"]
    task = task_of(**own)
    (example,) = task.encode(task.rows("train"), words, "pair", 16)
    assert example.lines("input_ids") == [[2, 100 + n, 3] for n in (2, 3, 4)]


@pytest.mark.parametrize(
    ("choose", "row", "reported"),
    [
        (
            "one",
            {**GOOD, "right": 3},
            "found 3, which is none of the candidates; expected a number",
        ),
        ("one", {**GOOD, "right": -1}, "found -1, which is none of the candidates"),
        ("one", {**GOOD, "right": "w9"}, "found 'w9', which is none of the candidates"),
        ("one", {**GOOD, "right": True}, "found True, which is none"),
        ("one", {**GOOD, "right": None}, "nothing says which candidate is right"),
        ("one", {**GOOD, "right": []}, "found 0 right candidates, expected one (task.choose: one)"),
        ("one", {**GOOD, "right": [0, 1]}, "found 2 right candidates, expected one"),
        ("best", {**GOOD, "right": []}, "found 0 right candidates, expected one at least"),
        ("one", {**GOOD, "options": []}, "column 'options': found [], expected a list"),
        ("one", {**GOOD, "options": "w2"}, "column 'options': found 'w2', expected a list"),
        ("one", {**GOOD, "options": ["w2"], "right": 0}, "found one candidate, expected two"),
        ("one", {**GOOD, "options": ["w2", " "]}, "column 'options[1]': the text is empty"),
        ("one", {**GOOD, "options": ["w2", 5]}, "column 'options[1]': found 5, expected text"),
        ("one", {"options": ["w2", "w3"], "right": 0}, "no column 'q'; found: options, right"),
        ("one", {**GOOD, "q": ""}, "column 'q': the text is empty"),
        (
            "one",
            {**GOOD, "options": ["1", "0"], "right": "1"},
            "a candidate's number and another's",
        ),
        ("one", {**GOOD, "options": ["w2", "w2"], "right": "w2"}, "which several candidates are"),
    ],
)
def test_mistakes_in_rows(
    task_of: TaskOf, own: dict[str, Any], choose: str, row: dict[str, Any], reported: str
) -> None:
    write(own, {**GOOD}, row)
    with pytest.raises(UserError) as error:
        task_of(**own, choose=choose).rows("train")
    assert f"{own['path']}/train.jsonl:2" in str(error.value)
    assert reported in str(error.value)


def test_a_candidate_that_is_too_long_has_its_line(
    task_of: TaskOf, own: dict[str, Any], words: Any
) -> None:
    write(own, GOOD, {**GOOD, "options": ["w2", "w3 " * 40]})
    task = task_of(**own)
    with pytest.raises(UserError, match=r"train.jsonl:2: the candidate 'w3 w3.*max_length is 16"):
        task.encode(task.rows("train"), words, "pair", 16)


@pytest.mark.parametrize(
    ("keys", "reported"),
    [
        (
            {"metric": "f1a"},
            "task.metric: found 'f1a', allowed for choice where task.choose is one",
        ),
        ({"choose": "best", "metric": "accuracy"}, "is best: f1, em."),
    ],
)
def test_contradictions(
    task_of: TaskOf, own: dict[str, Any], keys: dict[str, Any], reported: str
) -> None:
    with pytest.raises(UserError) as error:
        task_of(**own, **keys)
    assert reported in str(error.value)


def test_a_number_of_a_column_with_gaps(task_of: TaskOf, own: dict[str, Any], words: Any) -> None:
    """pandas writes it as 1.0, and NaN where there is none."""
    write(own, {**GOOD, "right": 1.0}, {**GOOD, "right": "2.0"})
    assert targets(task_of(**own), words) == [1, 2]
    write(own, {**GOOD, "right": float("nan")})
    with pytest.raises(UserError, match="nothing says which candidate is right"):
        task_of(**own).rows("train")


@pytest.mark.parametrize("given", [-1, "?", 1.5, [7]])
def test_rows_to_be_predicted_may_have_anything_for_an_answer(
    task_of: TaskOf, own: dict[str, Any], words: Any, given: Any
) -> None:
    task, row = task_of(**own), {**GOOD, "right": given}
    task.check_row(row, 1)
    (example,) = task.encode([row], words, "pair", 16, with_targets=False)
    (plain,) = task.encode([GOOD], words, "pair", 16, with_targets=False)
    assert (example.inputs, example.target) == (plain.inputs, None)


def test_a_candidate_that_comes_twice_is_told_of(task_of: TaskOf, own: dict[str, Any]) -> None:
    rows = [GOOD, {**GOOD, "options": ["w2", "w3", "w2"]}]
    assert task_of(**own).describe_rows(rows)[1:] == ["warning: 1 questions have a candidate twice"]
