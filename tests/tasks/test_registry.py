"""The user's own data and the demo; every mistake in `task.*` is told with what is allowed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Task
from ptv2_scale.tasks.catalogue import DEMO_FOLDER

TaskOf = Callable[..., Task]


@pytest.fixture
def own(tmp_path: Path) -> dict[str, Any]:
    """A recipe's keys for a folder of CSV (train) and JSONL (validation)."""
    (tmp_path / "train.csv").write_text("say,kind,more\nw1 w2,yes,x\nw3,no,x\nw4,yes,x\n")
    (tmp_path / "dev.jsonl").write_text('{"say": "w5", "kind": "no"}\n')
    return {
        "name": "classification",
        "path": str(tmp_path),
        "train": "train.csv",
        "validation": "dev.jsonl",
        "text": "say",
        "label": "kind",
    }


def test_labels_are_found_in_training_and_sorted(
    task_of: TaskOf, own: dict[str, Any], words: Any
) -> None:
    task = task_of(**own)
    assert task.labels == ("no", "yes")
    assert task.columns == ("say",)
    examples = task.encode(task.rows("train"), words, "pair", 16)
    assert [(example.row, example.target) for example in examples] == [(0, 1), (1, 0), (2, 1)]
    assert examples[0].inputs["input_ids"] == [2, 101, 102, 3]


def test_given_labels_keep_their_order_and_no_file_is_needed(
    task_of: TaskOf, own: dict[str, Any], words: Any
) -> None:
    task = task_of(**{**own, "labels": ["yes", "no"], "path": "/no/such/folder"})
    assert task.labels == ("yes", "no")
    (example,) = task.encode([{"say": "w9", "id": 4}], words, "named", 16)
    assert example.target is None
    assert set(example.inputs) <= {"input_ids", "token_type_ids"}


def test_numbers_and_booleans_are_labels_too(task_of: TaskOf, own: dict[str, Any]) -> None:
    folder = Path(own["path"])
    for values, labels in (([10, 2, 10], ("2", "10")), ([True, False, True], ("false", "true"))):
        rows = [{"say": "w1", "kind": value} for value in values]
        (folder / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
        assert task_of(**{**own, "train": "own.jsonl"}).labels == labels


def test_pairs(task_of: TaskOf, own: dict[str, Any], words: Any) -> None:
    task = task_of(**own, text_pair="more")
    (pair,) = task.encode([{"say": "w1", "more": "w2"}], words, "pair", 16)
    assert pair.inputs["input_ids"] == [2, 101, 3, 102, 3]
    (named,) = task.encode([{"say": "w1", "more": "w2"}], words, "named", 16)
    assert named.inputs["input_ids"] == [2, 1, 101, 1, 102, 3]  # say: w1 more: w2


def test_demo(task_of: TaskOf, words: Any) -> None:
    task = task_of(name="demo")
    lines = (DEMO_FOLDER / "train.jsonl").read_text().splitlines()
    assert task.labels == tuple(sorted({str(json.loads(line)["label"]) for line in lines}))
    assert len(task.rows("train")) == len(lines)
    assert task.metric == "accuracy"
    with pytest.raises(UserError, match=r"the test split has no file.*task.test=FILE"):
        task.rows("test")


@pytest.mark.parametrize(
    ("keys", "reported"),
    [
        ({"name": "superglue/bolq"}, "allowed: superglue/boolq, superglue/cb"),
        ({"name": "superglue/bolq"}, "Did you mean 'superglue/boolq'?"),
        ({"name": "glue/sst2", "labels": ["a", "b"]}, "glue/sst2 has the labels 0, 1"),
        ({"name": "glue/sst2", "train": "x.tsv"}, "name files inside task.path"),
        ({"name": "superglue/cb", "metric": "f1"}, "f1 is for two classes, and the task has 3"),
        (
            {"name": "classification", "text": "say", "label": "kind"},
            "task.path: missing, but task.name: classification reads local files",
        ),
    ],
)
def test_contradictions(task_of: TaskOf, keys: dict[str, Any], reported: str) -> None:
    with pytest.raises(UserError) as error:
        task_of(**keys)
    assert reported in str(error.value)


@pytest.mark.parametrize(
    ("changes", "content", "reported"),
    [
        ({"path": "/no/such"}, "", "task.path: found '/no/such', which is not a folder"),
        ({"train": "no.csv"}, "", "no.csv: there is no such file"),
        ({"train": None}, "", "the train split has no file"),
        ({"text": "sya"}, "say,kind\nw,a\n", ":2: no column 'sya'; found: say, kind."),
        ({}, "say,kind\nw,a\nw,a\n", "at least two labels; found in the column 'kind': a"),
        ({"labels": ["a", "a"]}, "say,kind\nw,a\n", "two or more different labels"),
        (
            {"labels": ["a", "bee"]},
            "say,kind\nw,a\nw,be\n",
            "data.csv:3: found the label 'be'",
        ),
        ({"labels": ["a", "bee"]}, "say,kind\nw,a\nw,be\n", "allowed: a, bee. Did you mean 'bee'?"),
    ],
)
def test_mistakes_in_own_data(
    task_of: TaskOf, own: dict[str, Any], changes: dict[str, Any], content: str, reported: str
) -> None:
    (Path(own["path"]) / "data.csv").write_text(content)
    with pytest.raises(UserError) as error:
        task_of(**{**own, "train": "data.csv", **changes}).rows("train")
    assert reported in str(error.value)


def test_rows_to_be_predicted(task_of: TaskOf, own: dict[str, Any], words: Any) -> None:
    task = task_of(**own)
    strange = [{"say": "w1", "kind": "unheard of"}]
    assert task.encode(strange, words, "pair", 16, with_targets=False)[0].target is None
    with pytest.raises(UserError, match="row 1: found the label 'unheard of'"):
        task.encode(strange, words, "pair", 16)
    with pytest.raises(UserError, match=r"row 2: no column 'say'; found: sya. Did"):
        task.encode([{"say": "w1"}, {"sya": "w1"}], words, "pair", 16)
    with pytest.raises(UserError, match="row 1, column 'say': found None, expected text"):
        task.encode([{"say": None}], words, "pair", 16)
