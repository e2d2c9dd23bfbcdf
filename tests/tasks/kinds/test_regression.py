"""Scores: STS-B as published and one's own, the loss, the metrics, mistakes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ptv2_scale.data.collate import Example, Padding
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Task, Trivial

TaskOf = Callable[..., Task]
HEADER = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
ROW = '0\tmain\tMSRvid\t2012\t0001\tnone\tnone\tA "plane" flies .\tA plane is flying .\t{}\n'


def own(folder: Path, text: str) -> dict[str, Any]:
    (folder / "own.csv").write_text(text)
    columns = {"text": "say", "label": "mark"}
    return {"name": "regression", "path": str(folder), "train": "own.csv", **columns}


def test_stsb_as_published(task_of: TaskOf, tmp_path: Path, words: Any) -> None:
    (tmp_path / "train.tsv").write_text(HEADER + ROW.format("4.750"))
    test = (HEADER + ROW).replace("\tscore\n", "\n").replace("\t{}\n", "\n")
    (tmp_path / "test.tsv").write_text(test)
    task = task_of(name="glue/stsb", path=str(tmp_path))
    (row,) = task.rows("train")
    assert (row["sentence1"], row["label"]) == ('A "plane" flies .', "4.750")
    assert task.encode([row], words, "pair", 32)[0].target == 4.75
    assert task.encode(task.rows("test"), words, "pair", 32)[0].target is None
    hub = {"sentence1": "w1", "sentence2": "w2", "label": 2.5, "idx": 0}
    assert task.encode([hub], words, "pair", 32)[0].target == 2.5


def test_loss_is_a_sum_of_squares(task_of: TaskOf, tmp_path: Path) -> None:
    task = task_of(**own(tmp_path, "say,mark\nw1,1\n"))
    examples = [Example(n, {"input_ids": [1]}, one) for n, one in enumerate((1.0, None, 4.0))]
    batch = task.collate(examples, Padding(0))
    loss = task.loss_sum(torch.tensor([[1.5], [9.0], [2.0]]), batch.targets)
    assert loss.item() == pytest.approx(0.25 + 4.0)
    assert task.loss_count(examples) == 2


def test_records_and_metrics(task_of: TaskOf, tmp_path: Path) -> None:
    task = task_of(**own(tmp_path, "say,mark\nw1,1\nw2,2\nw3,4\n"), metric="spearman")
    rows = task.rows("train")
    outputs = torch.tensor([[0.0], [1.0], [8.0]])
    records = task.decode(outputs, [Example(n, {}) for n in range(3)])
    assert records == [{"score": 0.0}, {"score": 1.0}, {"score": 8.0}]
    found = task.score(records, rows)
    assert list(found) == ["spearman", "pearson"]
    assert found["spearman"] == pytest.approx(1.0)
    # (-4/3)(-3) + (-1/3)(-2) + (5/3)(5) over the root of (14/3)(38)
    assert found["pearson"] == pytest.approx(13 / math.sqrt(14 / 3 * 38))
    assert task.trivial(rows) == Trivial(0.0, "the same score for all")
    assert task.describe_rows(rows) == ["3 scores from 1 to 4, 2.33 on average"]
    with pytest.raises(UserError, match="no scores"):
        task.score(records, [{"say": "w1"}])


@pytest.mark.parametrize("mark", ["high", "nan", "1e999", "True"])
def test_what_is_no_score(task_of: TaskOf, tmp_path: Path, mark: str) -> None:
    task = task_of(**own(tmp_path, f"say,mark\nw1,1\nw2,{mark}\n"))
    with pytest.raises(UserError, match=r"own.csv:3, column 'mark': found.*expected a number"):
        task.rows("train")


def test_a_missing_score(task_of: TaskOf, tmp_path: Path) -> None:
    task = task_of(**own(tmp_path, 'say,mark\nw1,1\nw2,""\n'))
    with pytest.raises(UserError, match=r"own.csv:3: no score in the column 'mark'"):
        task.rows("train")
