"""Text that answers text, against transformers' own loss and greedy decoding, and classic GLM's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import CAUSAL, load_language_model, write_text_recipe
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast

from ptv2_scale import Predictor, UserError, train
from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.config import load_recipe
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.inference.forward import answer_all
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import Setup, build_model, first_values, model_filler, open_setup
from ptv2_scale.tasks.base import Trivial
from ptv2_scale.tasks.text_pairs import Passage

KINDS = ["t5", "mt5", "glm_classic", *(kind for kind in CAUSAL if kind != "qwen2")]


def opened(recipe: Path, *overrides: str) -> tuple[Setup, PromptedModel]:
    setup = open_setup(load_recipe(recipe, overrides))
    model = build_model(setup)
    materialise(model, model_filler(setup, model, NamedTensors(first_values(setup))), Unsharded())
    return setup, model.eval()


def piece_loss(model: Any, text: str, answer: str) -> Tensor:
    """The mean over an answer's tokens of a classic GLM, laid out by hand after the original code.

    As `write_text_recipe` makes the vocabulary w0 has the id 5, and the blanks' tokens come last.
    """
    start, end, mask = 107, 108, 109
    words, said = ([5 + int(word[1:]) for word in one.split()] for one in (text, answer))
    given, labels = [1, *words, mask, 2], [*said, end]
    ids = torch.tensor([[*given, start, *said]])
    places = [*range(len(given)), *[len(given) - 2] * len(labels)]
    blocks = [*[0] * len(given), *range(1, len(labels) + 1)]
    logits = model(
        input_ids=ids,
        position_ids=torch.tensor([[places, blocks]]),
        attention_mask=torch.tensor([len(given)]),
        output_predict=True,
    ).logits[0, -len(labels) :]
    return cross_entropy(logits, torch.tensor(labels))


def expected_loss(folder: Path, kind: str, row: dict[str, str]) -> Tensor:
    """The mean over an answer's tokens, by transformers or by our classic GLM alone."""
    if kind == "glm_classic":
        with torch.no_grad():
            return piece_loss(load_language_model(folder), row["input"], row["target"])
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


def test_pieces_of_a_classic_glm_see_a_prefix(tmp_path: Path) -> None:
    recipe = write_text_recipe(tmp_path, "glm_classic")
    setup, model = opened(recipe, "prompt={length: 5, init_scale: 0.5}")
    rows = [{"input": "w1 w2 w3 w4", "target": "w5 w6"}, {"input": "w9", "target": "w8 w7"}]
    batch = setup.task.collate(setup.encode(rows), setup.padding)
    summed = model(**batch.inputs).outputs[..., 0].sum(dim=1)
    summed.sum().backward()
    (gradient,) = [one.grad for one in model.trained().values()]
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    with torch.no_grad():
        bare = model(entry=None, **batch.inputs).outputs[..., 0].sum(dim=1)
        for row, found in zip(rows, summed, strict=True):
            with model.entry().bind():
                expected = piece_loss(model.backbone, row["input"], row["target"])
            torch.testing.assert_close(found / 3, expected, rtol=1e-4, atol=0)
    assert not torch.isclose(summed, bare, atol=1e-2).any()


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
    passage = Passage(prompt, answer, answer)
    return type(example)(0, *setup.task._layout(setup.tokenizer).answered(passage, 24))  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["t5", "gpt2"])
def test_what_is_written_is_scored(kind: str, tmp_path: Path) -> None:
    """Of four answers two are the model's own, as it writes them from the same inputs."""
    recipe = write_text_recipe(tmp_path, kind, evaluate={"micro_batch": 3})
    overrides = ("prompt={method: discrete}", "task.metric=rouge_l", "task.max_new_tokens=6")
    setup, model = opened(recipe, *overrides)
    rows = [{"input": f"w{n} w2 w3", "target": "w1"} for n in (4, 5, 6, 7)]
    end = setup.tokenizer.eos_token_id
    made = model.generate(end, 6, **setup.inputs(rows))
    texts = [setup.tokenizer.decode(tokens, skip_special_tokens=True) for tokens in made]
    rows = [{**row, "target": text} for row, text in zip(rows, texts, strict=True)]
    rows[1]["target"] = rows[2]["target"] = "w90 w91 w92 w93 w94 w95"
    assert not any(word in texts[n] for n in (1, 2) for word in rows[n]["target"].split())
    records = answer_all(model, setup, setup.encode(rows), RankContext.alone())
    assert [record["text"] for record in records] == texts
    scores = setup.task.score(records, rows)
    assert list(scores)[0] == "rouge_l"
    assert scores["rouge_l"] == pytest.approx(0.5)
    assert 0.3 < scores["bleu"] < 0.6
    assert scores["perplexity"] > 1.0
    setup, _ = opened(recipe, "prompt={method: discrete}")
    assert "text" not in answer_all(model, setup, setup.encode(rows), RankContext.alone())[0]


def test_what_the_most_frequent_answer_scores(tmp_path: Path) -> None:
    recipe = write_text_recipe(tmp_path, "gpt2")
    rows = [{"input": "w1", "target": target} for target in ("w1 w2", "w1 w2", "w1 w3", "w4")]
    expected = {"exact_match": 0.5, "rouge_l": (1 + 1 + 0.5) / 4}
    for metric, value in expected.items():
        setup, _ = opened(recipe, f"task.metric={metric}")
        found = setup.task.trivial(rows)
        assert found == Trivial(pytest.approx(value), "the most frequent answer")


TEMPLATE = (
    "{% for m in messages %}{{ m.role }} : {{ m.content }}"
    "{{ ' </s> ' if m.role == 'assistant' else ' ' }}{% endfor %}"
    "{{ 'assistant : ' if add_generation_prompt }}"
)


def test_conversations_are_learned_by_the_tokenizers_template(tmp_path: Path) -> None:
    recipe = write_text_recipe(tmp_path, "llama")
    overrides = ("prompt={method: discrete}", "task.messages=talk")
    turns = [("user", "w1 w2"), ("assistant", "w3"), ("user", "w4"), ("assistant", "w5 w6")]
    row = {"talk": [{"role": role, "content": content} for role, content in turns]}
    with pytest.raises(UserError, match="no chat template"):
        opened(recipe, *overrides)[0].encode([row])
    (tmp_path / "backbone" / "chat_template.jinja").write_text(TEMPLATE)
    for override, learned in (("task.turns=all", 5), ("task.turns=last", 3)):
        setup, model = opened(recipe, *overrides, override)
        examples = setup.encode([row])
        with torch.no_grad():
            output = model(**setup.task.collate(examples, setup.padding).inputs)
        ids = setup.tokenizer.apply_chat_template(row["talk"], return_tensors="pt")["input_ids"]
        labels = ids.clone()
        answers = [ids[0, 6:8], ids[0, 13:16]]
        assert [setup.tokenizer.decode(one) for one in answers] == ["w3 </s>", "w5 w6 </s>"]
        labels[0, :6], labels[0, 8:13] = -100, -100
        if learned == 3:
            labels[0, :13] = -100
        with torch.no_grad():
            expected = load_language_model(tmp_path / "backbone")(input_ids=ids, labels=labels).loss
        assert setup.task.loss_count(examples) == learned
        found = float(setup.task.loss_sum(output.outputs, {})) / learned
        assert found == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize(("kind", "steps"), [("mt5", 15), ("llama", 30), ("glm_classic", 15)])
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


def test_what_does_not_go_together(tmp_path: Path) -> None:
    recipe = write_text_recipe(tmp_path, "t5")
    with pytest.raises(UserError, match="conversations are for causal models"):
        opened(recipe, "task.messages=talk")
    (tmp_path / "glm").mkdir()
    with pytest.raises(UserError, match="conversations are for causal models"):
        opened(write_text_recipe(tmp_path / "glm", "glm_classic"), "task.messages=talk")
    with pytest.raises(UserError, match="task.turns: is of conversations"):
        load_recipe(recipe, ["task.turns=last"])
    with pytest.raises(UserError, match="task.messages and task.input contradict each other"):
        load_recipe(recipe, ["task={name: text, messages: a, input: b}"])
    tasks = "{a: {name: text, path: a, metric: bleu}, b: {name: text, path: b}}"
    with pytest.raises(UserError, match=r"task.tasks.a.metric: bleu is scored on texts"):
        opened(recipe, f"task={{name: multi, tasks: {tasks}}}")


def test_answers_that_are_written_need_positions(tmp_path: Path) -> None:
    recipe = write_text_recipe(tmp_path, "gpt2", prompt={"length": 5})
    # The table has 160 positions: 5 + 24 + 131; the last token of an answer is not read.
    opened(recipe, "task.max_new_tokens=132", "task.metric=bleu")
    opened(recipe, "task.max_new_tokens=133", "task.metric=exact_match")
    with pytest.raises(UserError, match=r"task.max_new_tokens: .*156 text tokens"):
        opened(recipe, "task.max_new_tokens=133", "task.metric=bleu")


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
