"""Text that answers text, against transformers' own loss and greedy decoding."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import CAUSAL, load_language_model, write_text_recipe
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from ptv2_scale import Predictor, UserError, train
from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.config import load_recipe
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import Setup, build_model, first_values, model_filler, open_setup

KINDS = ["t5", "mt5", *(kind for kind in CAUSAL if kind != "qwen2")]


def opened(recipe: Path, *overrides: str) -> tuple[Setup, PromptedModel]:
    setup = open_setup(load_recipe(recipe, overrides))
    model = build_model(setup)
    materialise(model, model_filler(setup, model, NamedTensors(first_values(setup))), Unsharded())
    return setup, model.eval()


def expected_loss(folder: Path, kind: str, row: dict[str, str]) -> Tensor:
    """The mean over an answer's tokens, by transformers."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = load_language_model(folder)
    answer = tokenizer(row["target"])["input_ids"][1:]  # without <s>, with </s>
    prompt = tokenizer(row["input"])["input_ids"]
    with torch.no_grad():
        if kind in ("t5", "mt5"):
            return model(input_ids=torch.tensor([prompt]), labels=torch.tensor([answer])).loss
        ids = torch.tensor([[*prompt[:-1], *answer]])
        labels = ids.clone()
        labels[:, : len(prompt) - 1] = -100
        return model(input_ids=ids, labels=labels).loss


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_transformers_own(kind: str, tmp_path: Path) -> None:
    recipe = write_text_recipe(tmp_path, kind)
    setup, model = opened(recipe, "prompt={method: discrete}", "task.chunk=2")
    rows = [{"input": "w1 w2 w3 w4", "target": "w5 w6"}, {"input": "w9", "target": "w8 w7 w6 w5"}]
    examples = setup.encode(rows)
    assert setup.task.loss_count(examples) == 3 + 5
    with torch.no_grad():
        output = model(**setup.task.collate(examples, setup.padding).inputs)
    records = setup.task.decode(output.outputs, examples)
    for row, record in zip(rows, records, strict=True):
        expected = expected_loss(tmp_path / "backbone", kind, row)
        assert -record["log_likelihood"] / record["tokens"] == pytest.approx(
            float(expected), rel=1e-4
        )
    summed = float(setup.task.loss_sum(output.outputs, {}))
    assert summed == pytest.approx(-sum(record["log_likelihood"] for record in records), rel=1e-5)
    scores = setup.task.score(records, rows)
    assert scores["perplexity"] == pytest.approx(math.exp(summed / 8), rel=1e-5)


@pytest.mark.parametrize("kind", ["t5", "gpt2"])
def test_exact_answers_are_those_of_greedy_decoding(kind: str, tmp_path: Path) -> None:
    setup, model = opened(write_text_recipe(tmp_path, kind), "prompt={method: discrete}")
    whole = load_language_model(tmp_path / "backbone")
    prompt = setup.tokenizer("w1 w2")["input_ids"]
    prompt = prompt if kind == "t5" else prompt[:-1]
    made = whole.generate(
        torch.tensor([prompt]), max_new_tokens=4, do_sample=False, eos_token_id=None
    )[0].tolist()
    greedy = made[1:] if kind == "t5" else made[len(prompt) :]
    examples = setup.encode([{"input": "w1 w2", "target": "w3"}] * 2)
    examples = [
        _with_answer(setup, examples[0], prompt, answer)
        for answer in (greedy, [*greedy[:-1], (greedy[-1] + 1) % 120])
    ]
    with torch.no_grad():
        output = model(**setup.task.collate(examples, setup.padding).inputs)
    records = setup.task.decode(output.outputs, examples)
    assert [record["exact"] for record in records] == [True, False]


def _with_answer(setup: Setup, example: Any, prompt: list[int], answer: list[int]) -> Any:
    inputs, target = setup.task._lined_up(prompt, answer, setup.tokenizer, 24)  # type: ignore[attr-defined]
    return type(example)(0, inputs, target)


@pytest.mark.parametrize(("kind", "steps"), [("mt5", 15), ("llama", 30)])
def test_a_prefix_learns_which_words_answers_have(kind: str, steps: int, tmp_path: Path) -> None:
    recipe = write_text_recipe(
        tmp_path,
        kind,
        words=4,
        prompt={"length": 20, "dropout": 0.0, "init_scale": 0.5},
        train={"steps": steps, "lr": 0.2, "global_batch": 20, "micro_batch": 20},
        evaluate={"every": steps, "micro_batch": 8},
    )
    result = train(recipe)
    assert result.metric == "log_likelihood"
    assert result.value > result.trivial + 1.0
    (answer,) = Predictor.load(tmp_path / "run").predict([{"input": "w1 w2"}])
    assert set(answer) == {"text", "finished"}
    metrics, trivial = Predictor.load(tmp_path / "run").evaluate("run", "validation")
    assert metrics["log_likelihood"] == pytest.approx(result.value, rel=1e-5)
    assert trivial.value == pytest.approx(-math.log(120))


def test_a_family_that_does_not_write(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="BERT does not here"):
        opened(write_text_recipe(tmp_path, "bert"))


def test_long_texts_are_cut(tmp_path: Path) -> None:
    for kind in ("t5", "gpt2"):
        (tmp_path / kind).mkdir()
        setup, _ = opened(write_text_recipe(tmp_path / kind, kind), "prompt={method: discrete}")
        words = " ".join(f"w{number}" for number in range(40))
        (one,) = setup.encode([{"input": words, "target": words}])
        assert len(one.inputs["input_ids"]) == 24
        assert len(one.target) == 24
        assert sum(label != -100 for label in one.target) == (24 if kind == "t5" else 12)
