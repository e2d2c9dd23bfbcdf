"""Examples, loss, answers and scores of choosing among candidates, on each kind of backbone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import write_recipe

from ptv2_scale.config import load_recipe
from ptv2_scale.data.collate import Example, Padding
from ptv2_scale.inference.forward import by_rows
from ptv2_scale.model.setup import open_setup
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Task

TaskOf = Callable[..., Task]
OWN = {
    "name": "choice", "path": ".", "question": "q", "candidates": ["options"], "answer": "right",
}  # fmt: skip
ROWS = [
    {"q": "w1", "options": ["w2", "w3"], "right": 1},
    {"q": "w4 w5", "options": ["w6", "w7", "w8"], "right": 0},
]


def test_a_question_is_one_example_of_several_sequences(task_of: TaskOf, words: Any) -> None:
    task = task_of(**OWN)
    first, second = task.encode(ROWS, words, "pair", 16)
    assert (first.sequences, second.sequences) == ((5, 5), (6, 6, 6))
    assert (first.target, second.target) == (1, 0)
    batch = task.collate([first, second], Padding(0))
    assert batch.inputs["input_ids"].tolist()[1:3] == [
        [2, 101, 3, 103, 3, 0],
        [2, 104, 105, 3, 106, 3],
    ]
    assert batch.inputs["token_type_ids"].tolist()[1] == [0, 0, 0, 1, 1, 0]


def test_each_candidate_is_an_example_where_each_is_judged(task_of: TaskOf, words: Any) -> None:
    examples = task_of(**OWN, choose="any").encode(ROWS, words, "pair", 16)
    assert [one.row for one in examples] == [0, 0, 1, 1, 1]
    assert [one.target for one in examples] == [0, 1, 1, 0, 0]
    assert {one.sequences for one in examples} == {()}


def test_loss_of_one_is_a_softmax_over_a_rows_candidates(task_of: TaskOf, words: Any) -> None:
    task = task_of(**OWN)
    unknown = {"q": "w1", "options": ["w2", "w3"]}
    examples = task.encode([*ROWS, unknown], words, "pair", 16)
    scores = [0.5, 1.5, 2.0, -1.0, 0.25, 9.0, 9.0]
    expected = -1.5 + math.log(math.exp(0.5) + math.exp(1.5))
    expected += -2.0 + math.log(math.exp(2.0) + math.exp(-1.0) + math.exp(0.25))
    outputs = torch.tensor(scores).unsqueeze(1).requires_grad_()
    loss = task.loss_sum(outputs, task.targets(examples))
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert task.loss_count(examples) == 2
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert gradient.isfinite().all()
    assert gradient[5:].tolist() == [[0.0], [0.0]]


def test_loss_of_each_is_binary(task_of: TaskOf, words: Any) -> None:
    task = task_of(**OWN, choose="any")
    examples = [*task.encode(ROWS[:1], words, "pair", 16), Example(1, {"input_ids": [1]})]
    loss = task.loss_sum(torch.tensor([[0.5], [2.0], [7.0]]), task.targets(examples))
    assert loss.item() == pytest.approx(math.log1p(math.exp(0.5)) + math.log1p(math.exp(-2.0)))
    assert task.loss_count(examples) == 2
    nothing = task.loss_sum(torch.tensor([[7.0]]), task.targets(examples[2:]))
    assert nothing.item() == 0.0


def test_records(task_of: TaskOf, words: Any) -> None:
    outputs = torch.tensor([[0.0], [math.log(3.0)], [0.0], [5.0], [1.0]])
    one, several = task_of(**OWN), task_of(**OWN, choose="any")
    examples = one.encode(ROWS, words, "pair", 16)
    first, second = by_rows(one, examples, one.decode(outputs, examples))
    assert first == {"choice": 1, "text": "w3", "probabilities": pytest.approx([0.25, 0.75])}
    assert (second["choice"], one.score([first, second], ROWS)) == (1, {"accuracy": 0.5})
    examples = several.encode(ROWS, words, "pair", 16)
    made = several.decode(outputs - 0.5, examples)
    json.dumps(made)
    first, second = by_rows(several, examples, made)
    assert (first["choices"], second["choices"]) == ([1], [1, 2])
    assert second["texts"] == ["w7", "w8"]
    found = several.score([first, second], ROWS)
    assert found == {"f1a": pytest.approx(2 / 5), "em": 0.5}
    with pytest.raises(UserError, match="do not say which candidates are right"):
        one.trivial([{"q": "w1", "options": ["w2", "w3"]}])


def test_questions_of_a_passage_stay_apart(task_of: TaskOf, words: Any) -> None:
    answers = [{"text": f"w{n}", "label": n % 2} for n in range(3)]
    questions = [{"question": f"w{n}", "answers": answers[: n + 1]} for n in (1, 2)]
    row = {"passage": {"text": "w9 w8", "questions": questions}}
    task = task_of(name="superglue/multirc")
    examples = task.encode([row], words, "pair", 16)
    outputs = torch.tensor([[-1.0], [1.0], [1.0], [1.0], [-1.0]])
    (record,) = by_rows(task, examples, task.decode(outputs, examples))
    assert [one["choices"] for one in record["questions"]] == [[1], [0, 1]]
    assert task.score([record], [row]) == {"f1a": pytest.approx(0.8), "em": 0.5}


def test_the_metric_that_is_asked_for_comes_first(task_of: TaskOf) -> None:
    task = task_of(**OWN, choose="any", metric="em")
    assert task.resolved().metric == "em"  # type: ignore[attr-defined]
    assert list(task.score([{"choices": [1]}, {"choices": []}], ROWS)) == ["em", "f1a"]


@pytest.mark.parametrize("model_type", ["bert", "llama", "t5", "glm_classic"])
def test_a_forward_pass_does_not_depend_on_the_batch(model_type: str, tmp_path: Path) -> None:
    from ptv2_scale.backbones.load import Unsharded, materialise
    from ptv2_scale.model.setup import build_model, first_values, weight_filler

    recipe = write_recipe(tmp_path, model_type)
    task = "{name: choice, path: ., question: q, candidates: [options], answer: right}"
    setup = open_setup(load_recipe(recipe, [f"task={task}", "task.max_length=20"]))
    model = build_model(setup)
    values = first_values(setup)
    fill_backbone = weight_filler(setup.files, model.backbone)

    def fill(names: Any, start: int, target: torch.Tensor) -> None:
        if names[0] in values:
            target.copy_(values[names[0]].flatten()[start : start + target.numel()])
        else:
            fill_backbone([names[0].removeprefix("backbone.")], start, target)

    materialise(model, fill, Unsharded(torch.device("cpu")))
    model.eval()
    examples = setup.encode(ROWS)
    with torch.no_grad():
        whole = model(**setup.task.collate(examples, setup.padding).inputs).outputs
        parts = [
            model(**setup.task.collate([one], setup.padding).inputs).outputs for one in examples
        ]
    assert whole.shape == (5, 1)
    torch.testing.assert_close(whole, torch.cat(parts), rtol=1e-4, atol=1e-5)
    assert whole.std() > 0
