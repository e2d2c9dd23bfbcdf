"""The loss, count, answers and scores of classification."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from ptv2_scale.data.collate import Example, Padding
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Task, Trivial

TaskOf = Callable[..., Task]


def examples_of(labels: Sequence[int | None]) -> list[Example]:
    return [Example(n, {"input_ids": [5]}, label) for n, label in enumerate(labels)]


def rows_of(task: Any, classes: Sequence[int | None]) -> list[dict[str, object]]:
    return [{} if one is None else {"label": task.labels[one]} for one in classes]


def test_loss_is_a_sum_over_labelled_examples(task_of: TaskOf) -> None:
    task = task_of(name="superglue/cb")
    examples = examples_of([2, None, 0])
    batch = task.collate(examples, Padding(0))
    logits = torch.tensor([[0.5, 1.0, -2.0], [9.0, 9.0, 9.0], [0.0, 3.0, 1.0]])
    expected = sum(
        math.log(sum(math.exp(x) for x in row)) - row[label]
        for row, label in (([0.5, 1.0, -2.0], 2), ([0.0, 3.0, 1.0], 0))
    )
    assert task.loss_sum(logits, batch.targets).item() == pytest.approx(expected, rel=1e-6)
    assert task.loss_count(examples) == 2
    half = task.loss_sum(logits.bfloat16(), batch.targets)
    assert half.dtype == torch.float32


def test_answers(task_of: TaskOf) -> None:
    task = task_of(name="superglue/cb")
    logits = torch.tensor([[0.0, math.log(3.0), 0.0], [5.0, 1.0, 1.0]])
    first, second = task.decode(logits, examples_of([0, 1]))
    assert (first["label"], second["label"]) == ("contradiction", "entailment")
    assert first["probabilities"] == pytest.approx(
        {"entailment": 0.2, "contradiction": 0.6, "neutral": 0.2}
    )


def test_scores_beside_the_metric(task_of: TaskOf) -> None:
    logits = torch.eye(3)[[0, 0, 1, 2]]
    task = task_of(name="superglue/cb")
    truth = rows_of(task, [0, 1, 1, 2])
    records = task.decode(logits, examples_of([0, 1, 1, 2]))
    found = task.score(records, truth)
    assert list(found) == ["accuracy", "f1_macro"]
    assert found[task.metric] == 0.75
    chosen = task_of(name="superglue/cb", metric="f1_macro")
    assert list(chosen.score(records, truth)) == ["f1_macro", "accuracy"]
    with pytest.raises(UserError, match="no labels"):
        task.score(records, rows_of(task, [0, 1, None, 2]))
    assert task.trivial(truth) == Trivial(0.5, "the most frequent class")


@pytest.mark.parametrize(
    ("name", "metrics"),
    [("glue/cola", ["matthews", "accuracy"]), ("glue/mrpc", ["accuracy", "f1"]),
     ("glue/sst2", ["accuracy"])],
)  # fmt: skip
def test_published_metrics(task_of: TaskOf, name: str, metrics: list[str]) -> None:
    task = task_of(name=name)
    records = task.decode(torch.eye(2)[[0, 1, 1]], examples_of([0, 1, 0]))
    assert list(task.score(records, rows_of(task, [0, 1, 0]))) == metrics


WIC = {"word": "place", "sentence1": "Do you want to come?", "sentence2": "Her place.", "idx": 0}
RTE = {"premise": "No weapons were found.", "hypothesis": "Weapons were found."}


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("glue/mrpc", WIC, "they have the columns of superglue/wic"),
        ("glue/mrpc", {**WIC, "label": True}, "their column 'label' has true"),
        ("superglue/rte", {**RTE, "label": "contradiction"}, "their column 'label' has contrad"),
        ("superglue/rte", {**RTE, "label": 0.25}, "their column 'label' has 0.25"),
        ("superglue/rte", {**RTE, "label": "not_entailment"}, None),
        ("superglue/rte", {**RTE, "label": None, "id": 7}, None),
        ("superglue/wic", WIC, None),
    ],
)
def test_rows_of_another_task_are_warned_of(
    name: str,
    row: dict[str, Any],
    said: str | None,
    task_of: TaskOf,
    bert_tokenizer: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    task_of(name=name).encode([row], bert_tokenizer, "pair", 50, with_targets=False)
    if said is None:
        assert caplog.text == ""
    else:
        assert f"{name}: are these rows of another task? " in caplog.text
        assert said in caplog.text
