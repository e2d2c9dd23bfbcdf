"""Span answers: targets, loss, scores, and what is refused in rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from ptv2_scale.config import Span
from ptv2_scale.data.collate import Padding
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.kinds.span import SpanTask, build

CONTEXT = "The treaty was signed in Oslo on a cold day, and nobody was there to see it happen."


def row(text: str | None = "Oslo", **more: Any) -> dict[str, Any]:
    starts = [] if text is None else [CONTEXT.index(text)]
    answers = {"text": [] if text is None else [text], "answer_start": starts}
    return {"question": " Where?", "context": CONTEXT, "answers": answers, **more}


def task_of(**keys: Any) -> SpanTask:
    return build(Span(**{"name": "span", "path": "/", "stride": 4, **keys}))


def test_targets_are_the_answers_tokens(bert_tokenizer: Any) -> None:
    task = task_of(no_answer=True)
    examples = task.encode([row(), row(None)], bert_tokenizer, "pair", 18)
    assert [one.row for one in examples] == [0, 0, 1, 1]
    texts = [
        bert_tokenizer.decode(one.inputs["input_ids"][one.target[0] : one.target[1] + 1])
        for one in examples
    ]
    assert texts == ["oslo", "[CLS]", "[CLS]", "[CLS]"]
    assert task.loss_count(examples) == 4
    bare = {key: value for key, value in row().items() if key != "answers"}
    (one, two) = task.encode([bare], bert_tokenizer, "pair", 18, with_targets=False)
    assert one.inputs == examples[0].inputs
    assert one.target is two.target is None


def test_the_loss_is_the_mean_of_start_and_end_whatever_the_padding(bert_tokenizer: Any) -> None:
    task = task_of()
    examples = task.encode([row(), row("cold day")], bert_tokenizer, "pair", 24)
    short = task.encode([{**row(), "context": "In Oslo", "answers": {"text": ["Oslo"],
                         "answer_start": [3]}}], bert_tokenizer, "pair", 24)  # fmt: skip
    every = [*examples, *short]
    batch = task.collate(every, Padding(0))
    logits = torch.randn(len(every), batch.inputs["input_ids"].shape[1], 2)
    expected = sum(
        functional.cross_entropy(logits[n, : one.length].T, torch.tensor(one.target)).item()
        for n, one in enumerate(every)
    )
    assert float(task.loss_sum(logits, batch.targets)) == pytest.approx(expected, rel=1e-5)
    alone = task.loss_sum(logits[-1:, : short[0].length], task.targets(short))
    wider = task.loss_sum(logits[-1:], task.targets(short))
    assert float(alone) == pytest.approx(float(wider))


def test_answers_over_windows(bert_tokenizer: Any) -> None:
    task = task_of()
    examples = task.encode([row()], bert_tokenizer, "pair", 18)
    outputs = torch.zeros(len(examples), 18, 2)
    start, end = examples[0].target
    outputs[0, start, 0] = outputs[0, end, 1] = 9
    record = task.combine(task.decode(outputs, examples))
    assert (record["answer"], record["start"]) == ("Oslo", CONTEXT.index("Oslo"))
    assert task.score([record], [row()]) == {"f1": 1.0, "exact": 1.0}
    silent = task_of(no_answer=True, null_threshold=-20.0)
    assert silent.combine(silent.decode(outputs, examples))["answer"] == ""


def test_scores_and_what_learning_nothing_scores() -> None:
    rows = [row(), row(None), row(None)]
    task = task_of(no_answer=True, metric="exact")
    assert (task.trivial(rows).value, task.trivial(rows).answer) == (
        pytest.approx(2 / 3), "no answer to any question"
    )  # fmt: skip
    record = {"answer": "in Oslo", "best": "in Oslo", "null_difference": -1.0}
    found = task.score([record] * 3, rows)
    assert list(found)[0] == task.metric == "exact"
    assert found["has_answer_f1"] == pytest.approx(2 / 3)
    assert task.describe_rows(rows) == ["3 questions on 1 contexts, 2 without an answer"]
    with pytest.raises(UserError, match="these rows have no answers"):
        task.trivial([{"question": "?", "context": "x"}])


def test_the_section_says_what_was_found() -> None:
    assert build(Span(name="squad/v2")).resolved().no_answer is True
    assert build(Span(name="squad/v1")).resolved() == Span(
        name="squad/v1", no_answer=False, metric="f1"
    )
    with pytest.raises(UserError, match="null_threshold: is for questions that may have no answer"):
        task_of(null_threshold=1.0)


def with_answers(found: Any) -> dict[str, Any]:
    return {**row(), "answers": found}


@pytest.mark.parametrize(
    ("given", "reported"),
    [
        (row(None), "train.jsonl:1 .id q.: the question has no answer. Where that may"),
        (with_answers({"text": ["Oslo"], "answer_start": [3]}), "where ' tre' stands"),
        (with_answers({"text": ["Oslo"], "answer_start": []}), 'expected {"text": .TEXT'),
        (with_answers("Oslo"), "found 'Oslo', expected"),
        (with_answers({"text": [1], "answer_start": [0]}), 'expected {"text": .TEXT'),
        (with_answers(None), "nothing says what is right; no 'answers'"),
        ({**row(), "context": " "}, "column 'context': the text is empty"),
        ({**row(), "question": 3}, "column 'question': found 3, expected text"),
    ],
)
def test_mistakes_in_rows(tmp_path: Path, given: dict[str, Any], reported: str) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps({**given, "id": "q"}) + "\n")
    task = task_of(path=str(tmp_path), train="train.jsonl")
    with pytest.raises(UserError, match=reported):
        _read(task)


def _read(task: SpanTask) -> None:
    for number, one in enumerate(task.rows("train"), start=1):
        task.check_row(one, number)


def test_answers_may_be_a_list_of_pairs(bert_tokenizer: Any) -> None:
    pairs = with_answers([{"text": "Oslo", "answer_start": CONTEXT.index("Oslo")}])
    task = task_of()
    (found,) = task.encode([pairs], bert_tokenizer, "pair", 64)
    (expected,) = task.encode([row()], bert_tokenizer, "pair", 64)
    assert found.target == expected.target


def test_people_are_told_what_was_cut(
    bert_tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    task = task_of(max_question=1, max_answer=1)
    task.encode([row("cold day")], bert_tokenizer, "pair", 18)
    assert "1 of 1 contexts are longer than 18 tokens" in caplog.text
    assert "1 of 1 questions are longer than 1 tokens" in caplog.text
    assert "1 of 1 right answers have more than 1 tokens" in caplog.text


def test_squad(material: Path) -> None:
    task = build(
        Span(
            name="squad/v1", path=str(material / "data/squad"), train="dev-v1.1_train38.json",
            validation="dev-v1.1_heldout10.json",
        )
    )  # fmt: skip
    rows = task.rows("train")
    assert task.describe_rows(rows) == ["8615 questions on 1638 contexts, 0 without an answer"]
    first = [{"answer": gold.texts[0]} for gold in task._known(rows)]
    assert task.score(first, rows) == {"f1": 1.0, "exact": 1.0}
