"""Several tasks as one: each example, record and score belongs to one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from several import write_rows
from tiny import write_task

from ptv2_scale.config import SINGLE_TASKS, Multi
from ptv2_scale.data.collate import Padding, by_part
from ptv2_scale.tasks.registry import build_task


@pytest.fixture
def section(tmp_path: Path) -> dict[str, Any]:
    write_task(tmp_path / "two")
    write_rows(tmp_path / "three")
    files = {"train": "train.jsonl", "validation": "validation.jsonl"}
    common = {"name": "classification", **files}
    return {
        "two": {**common, "path": str(tmp_path / "two"), "text": "text", "label": "label"},
        "three": {**common, "path": str(tmp_path / "three"), "text": "q", "label": "y",
                  "max_length": 4},
    }  # fmt: skip


def test_examples_know_their_task_and_row(section: dict[str, Any], words: Any) -> None:
    task = build_task(Multi.model_validate({"tasks": section, "name": "multi"}))
    rows = task.rows("train")
    examples = task.encode(rows, words, "pair", 999)
    assert [one.row for one in examples] == list(range(60))
    assert [len(indices) for indices in by_part(examples)] == [20, 40]
    assert max(one.length for one in examples if one.part == "three") == 4
    batch = task.collate(examples[-3:], Padding(0))
    assert batch.part == "three"
    assert list(batch.arguments) == [*batch.inputs, "part"]
    outputs = torch.randn(3, 3)
    targets = torch.tensor([one.target for one in examples[-3:]])
    expected = torch.nn.functional.cross_entropy(outputs, targets, reduction="sum")
    torch.testing.assert_close(task.loss_sum(outputs, batch.targets), expected)


def test_scores_are_each_tasks_own(section: dict[str, Any]) -> None:
    task = build_task(Multi.model_validate({"tasks": section, "name": "multi"}))
    rows = task.rows("validation")
    # The first class of each: right in 4 of 7 and in 3 of 9 rows.
    records = [
        {"task": row["task"], "label": {"two": "no", "three": "a"}[str(row["task"])]}
        for row in rows
    ]
    expected = {"mean": (4 / 7 + 3 / 9) / 2, "two/accuracy": 4 / 7, "three/accuracy": 3 / 9}
    assert task.score(records, rows) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("sampling", "ratio"), [({}, 4.0), ({"sampling": "equal"}, 1.0),
                            ({"sampling": "temperature", "temperature": 2.0}, 2.0)]
)  # fmt: skip
def test_weights_in_the_sampling(
    section: dict[str, Any], sampling: dict[str, Any], ratio: float
) -> None:
    multi = Multi.model_validate({"tasks": section, "name": "multi", **sampling})
    assert multi.weight(400) / multi.weight(100) == pytest.approx(ratio)


@pytest.mark.parametrize("kind", SINGLE_TASKS.names())
def test_a_task_may_be_of_any_kind(kind: str, section: dict[str, Any]) -> None:
    needed: dict[str, dict[str, object]] = {
        "classification": {"text": "a", "label": "b"},
        "choice": {"candidates": ["c"], "answer": "d"},
        "regression": {"text": "a", "label": "b"},
    }
    own = {"name": kind, "path": "p", **needed.get(kind, {})}
    found = Multi.model_validate({"name": "multi", "tasks": {**section, "own": own}})
    assert found.tasks["own"].kind == kind
