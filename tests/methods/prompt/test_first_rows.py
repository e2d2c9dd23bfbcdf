"""First values of a prompt, against the rows of transformers' own embedding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from several import write_several
from tiny import write_recipe
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from ptv2_scale import train
from ptv2_scale.methods.prompt.first_rows import sampled_ids, vocabulary
from ptv2_scale.runtime.errors import UserError

# One step that changes nothing: what a run then exports are its first values.
STILL = ("train.steps=1", "train.lr=1e-30")
LENGTH = 6


def first_prompt(folder: Path, recipe: Path, *changes: str) -> Tensor:
    train(recipe, [*STILL, *changes])
    return load_file(folder / "run" / "export" / "prompt.safetensors")["prompt"]


def embedding(folder: Path) -> Tensor:
    return AutoModel.from_pretrained(folder / "backbone").get_input_embeddings().weight.detach()


@pytest.mark.parametrize("kind", ["t5", "opt"])
def test_a_text_is_repeated_to_the_length(kind: str, tmp_path: Path) -> None:
    prompt = {"method": "prompt", "length": LENGTH, "init": "text", "init_text": "w3 w4"}
    recipe = write_recipe(tmp_path, kind, prompt=prompt)
    found = first_prompt(tmp_path, recipe)
    ids = AutoTokenizer.from_pretrained(tmp_path / "backbone")("w3 w4")["input_ids"]
    assert torch.equal(found, embedding(tmp_path)[(ids * LENGTH)[:LENGTH]])


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_heads_of_several_tasks_are_left_out(method: str, tmp_path: Path) -> None:
    prompt = {"method": method, "length": LENGTH, "init": "text", "init_text": "w3 w4"}
    recipe = write_several(tmp_path, "llama", prompt=prompt)
    result = train(recipe, [*STILL, "evaluate.every=1"])
    assert result.steps == 1
    found = load_file(tmp_path / "run" / "export" / "prompt.safetensors")
    assert found[method].abs().sum(dim=-1).all()  # each row, for a prefix would begin with zeros
    if method == "prompt":
        ids = AutoTokenizer.from_pretrained(tmp_path / "backbone")("w3 w4")["input_ids"]
        rows = AutoModel.from_pretrained(tmp_path / "backbone").get_input_embeddings().weight
        assert torch.equal(found["prompt"], rows.detach()[(ids * LENGTH)[:LENGTH]])


def test_the_vocabulary_is_sampled_by_the_seed(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, "llama", prompt={"method": "prompt", "length": LENGTH})
    rows = embedding(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "backbone")
    found: dict[int, list[int]] = {}
    for seed in (1, 2):
        change = (f"train.seed={seed}", f"run={tmp_path / 'run'}")
        prompt = first_prompt(tmp_path, recipe, *change, "prompt.init_ids=20")
        found[seed] = [int((rows == one).all(dim=1).nonzero()) for one in prompt]
        assert len(set(found[seed])) == LENGTH
        ordinary = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))
        assert set(found[seed]) <= set(ordinary[:20])
        (tmp_path / "run").rename(tmp_path / f"run-{seed}")
    assert found[1] != found[2]


def test_more_than_there_are_repeat_only_when_all_were_drawn() -> None:
    drawn = sampled_ids(7, [3, 5, 9], seed=1)
    assert sorted(drawn[:3]) == sorted(drawn[3:6]) == [3, 5, 9]
    assert drawn == sampled_ids(7, [9, 5, 3], seed=1)


class NoWords:
    """A tokenizer that names only special tokens."""

    all_special_ids = (0, 1)

    def get_vocab(self) -> dict[str, int]:
        return {"<pad>": 0, "</s>": 1}


def test_a_vocabulary_without_ordinary_tokens_is_refused() -> None:
    with pytest.raises(UserError, match="names no ordinary token. Set prompt.init: text"):
        vocabulary(NoWords(), 100, None)


def test_tokens_without_a_row_are_left_out() -> None:
    tokenizer = NoWords()
    tokenizer.get_vocab = lambda: {"<pad>": 0, "a": 2, "b": 3, "added": 200}  # type: ignore[method-assign]
    assert vocabulary(tokenizer, 100, None) == [2, 3]
    assert vocabulary(tokenizer, 100, 1) == [2]


def test_random_values_have_the_scale_that_is_asked_for(tmp_path: Path) -> None:
    prompt = {"method": "prompt", "length": 100, "init": "random", "init_scale": 0.3}
    recipe = write_recipe(tmp_path, "llama", prompt=prompt)
    found = first_prompt(tmp_path, recipe)
    assert found.shape == (100, 32)
    assert float(found.std()) == pytest.approx(0.3, rel=0.05)
    assert json.loads((tmp_path / "run" / "export" / "card.json").read_text())["method"] == {
        "length": 100,
        "width": 32,
    }


def test_a_head_that_reads_a_blank_is_left_out(tmp_path: Path) -> None:
    """The pass that looks embeddings up has no pattern; neither has a prefix's first text."""
    task = {"head": "verbalizer", "pattern": "{text} w50 {mask}", "labels": ["no", "yes"],
            "verbalizer": {"no": "w60", "yes": "w61"}}  # fmt: skip
    recipe = write_recipe(tmp_path, "gpt2", prompt={"method": "prompt", "length": 4}, task=task)
    train(recipe, [*STILL])
    prefix = "prompt={method: prefix, length: 4, init: text, init_text: w3}"
    train(recipe, [*STILL, prefix, f"run={tmp_path / 'prefix'}"])
