"""Logits of label words against those of transformers' whole heads, gathered at the blank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import MODEL_TYPES, load_language_model, save_tokenizer, write_cloze_recipe
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from ptv2_scale.backbones.glm_classic.inputs import blank_inputs
from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.config import load_recipe
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import Setup, build_model, first_values, model_filler, open_setup
from ptv2_scale.runtime.errors import UserError

MASKED = ("bert", "roberta", "xlm-roberta", "distilbert")
WITHOUT = ("electra", "deberta", "deberta-v2", "modernbert")
# Of Qwen2 transformers makes a tokenizer of its own from any vocabulary; Qwen3's head is the same.
KINDS = [kind for kind in MODEL_TYPES if kind not in (*WITHOUT, "qwen2")]
ROWS = [{"text": "w10 w11 w12 w13 w14"}, {"text": "w20"}, {"text": "w30 w31"}]


def opened(recipe: Path, *overrides: str) -> tuple[Setup, PromptedModel]:
    setup = open_setup(load_recipe(recipe, overrides))
    model = build_model(setup)
    materialise(model, model_filler(setup, model, NamedTensors(first_values(setup))), Unsharded())
    return setup, model.eval()


def expected_logits(folder: Path, kind: str, text: str, words: list[int]) -> Tensor:
    """Of one text: the whole model of transformers, or our classic GLM, at the blank."""
    model, tokenizer = load_language_model(folder), PreTrainedTokenizerFast.from_pretrained(folder)
    blank = "<extra_id_0>" if kind in ("t5", "mt5") else "[MASK]"
    asked = f"{text} w90 w91 {blank}"
    with torch.no_grad():
        if kind == "glm_classic":
            inputs = blank_inputs(tokenizer, [asked], [[""]])
            return model(**{name: inputs[name] for name in inputs if name != "labels"}).logits[
                0, -1, words
            ]
        if kind in ("t5", "mt5"):
            inputs = tokenizer(asked, return_tensors="pt")
            start = torch.tensor([[0, tokenizer.convert_tokens_to_ids(blank)]])
            ids, mask = inputs["input_ids"], inputs["attention_mask"]
            outputs = model(input_ids=ids, attention_mask=mask, decoder_input_ids=start)
            return outputs.logits[0, 1, words]
        if kind in MASKED:
            ids = tokenizer(asked, return_tensors="pt")["input_ids"]
            place = ids[0].tolist().index(tokenizer.mask_token_id)
            return model(input_ids=ids).logits[0, place, words]
        ids = tokenizer(f"{text} w90 w91", return_tensors="pt")["input_ids"][:, :-1]  # no </s>
        return model(input_ids=ids).logits[0, -1, words]


@pytest.mark.parametrize("kind", KINDS)
def test_logits_of_label_words(kind: str, tmp_path: Path) -> None:
    recipe = write_cloze_recipe(tmp_path, kind)
    setup, model = opened(recipe, "prompt={method: discrete}")
    assert model.trained() == {}
    words = setup.tokenizer.convert_tokens_to_ids(["w3", "w7"])
    with torch.no_grad():
        found = model(**setup.inputs(ROWS)).logits
    for row, logits in zip(ROWS, found, strict=True):
        expected = expected_logits(tmp_path / "backbone", kind, row["text"], words)
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("method", ["prefix", "prompt"])
@pytest.mark.parametrize("kind", ["t5", "bert", "glm_classic", "gpt2"])
def test_a_row_in_a_batch_has_the_logits_that_it_has_alone(
    kind: str, method: str, tmp_path: Path
) -> None:
    recipe = write_cloze_recipe(tmp_path, kind)
    setup, model = opened(recipe, f"prompt={{method: {method}, length: 5}}")
    with torch.no_grad():
        found = model(**setup.inputs(ROWS)).logits
        bare = model(entry=None, **setup.inputs(ROWS)).logits
        alone = torch.cat([model(**setup.inputs([row])).logits for row in ROWS])
    torch.testing.assert_close(found, alone, rtol=1e-4, atol=3e-5)
    assert not torch.allclose(found, bare, atol=1e-4)


def test_of_a_long_row_the_text_alone_is_cut(tmp_path: Path) -> None:
    recipe = write_cloze_recipe(tmp_path, "bert")
    setup, _ = opened(recipe, "prompt={method: discrete}", "task.max_length=12")
    row = {"text": " ".join(f"w{number}" for number in range(40))}
    ids = setup.inputs([row])["input_ids"][0].tolist()
    tokens = setup.tokenizer.convert_ids_to_tokens(ids)
    assert tokens[0] == "<s>"
    assert tokens[-4:] == ["w90", "w91", "[MASK]", "</s>"]
    assert 8 <= len(tokens) <= 12
    assert tokens[1:4] == ["w0", "w1", "w2"]


@pytest.mark.parametrize("kind", WITHOUT)
def test_a_family_whose_words_cannot_be_read(kind: str, tmp_path: Path) -> None:
    recipe = write_cloze_recipe(tmp_path, kind)
    with pytest.raises(UserError, match="has no head over the vocabulary here"):
        opened(recipe, "prompt={method: discrete}")


REFUSED: list[tuple[str, str, str]] = [
    ("bert", "task.verbalizer={no: w3}", "expected"),
    ("bert", "task.verbalizer={no: w3, maybe: w7}", "found the label 'maybe', allowed: no, yes"),
    ("bert", "task.verbalizer={no: w3, yes: w3}", "'w3' and 'w3' are one token"),
    ("bert", "task.verbalizer={no: w3, yes: maybe}", "'maybe' is unknown to this vocabulary"),
    ("bert", "task.verbalizer={no: w3, yes: w7 w8}", "'w7 w8' is 2 tokens of this vocabulary"),
    ("gpt2", "task.pattern='{mask} {text}'", "{text} stands behind the blank, and GPT-2 reads"),
    ("bert", "task.max_length=5", "the pattern alone has 5 tokens"),
    ("bert", "prompt={method: none}", "Set prompt.method: discrete"),
]


@pytest.mark.parametrize(("kind", "override", "message"), REFUSED)
def test_what_is_refused(kind: str, override: str, message: str, tmp_path: Path) -> None:
    recipe = write_cloze_recipe(tmp_path, kind)
    with pytest.raises(UserError) as caught:
        opened(recipe, override)[0].inputs([{"text": "w1 " * 30}])
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", ["bert", "t5"])
def test_a_text_with_the_blank_in_it(kind: str, tmp_path: Path) -> None:
    setup, _ = opened(write_cloze_recipe(tmp_path, kind), "prompt={method: discrete}")
    token = "[MASK]" if kind == "bert" else "<extra_id_0>"
    with pytest.raises(UserError, match="row 2: its text holds") as caught:
        setup.inputs([{"text": "w1"}, {"text": f"w1 {token}"}])
    assert f"'{token}'" in str(caught.value)


@pytest.mark.parametrize("kind", ["bert", "t5", "glm_classic"])
def test_a_tokenizer_without_a_blank(kind: str, tmp_path: Path) -> None:
    recipe = write_cloze_recipe(tmp_path, kind)
    save_tokenizer(tmp_path / "plain")
    setup, _ = opened(
        recipe, f"backbone.tokenizer={tmp_path / 'plain'}", "prompt={method: discrete}"
    )
    with pytest.raises(UserError, match="fills blanks"):
        setup.inputs(ROWS)


def test_inputs_that_do_not_say_what_is_read(tmp_path: Path) -> None:
    setup, model = opened(write_cloze_recipe(tmp_path, "bert"), "prompt={method: discrete}")
    inputs: dict[str, Any] = setup.inputs(ROWS)
    del inputs["read_at"]
    with pytest.raises(UserError, match="load_row_encoder"):
        model(**inputs)
