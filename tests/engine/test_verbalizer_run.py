"""A prefix before a verbalizer, on two ranks of ZeRO-3: killed, resumed, exported, used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import ranks
import torch
from killed import kill_after, losses
from safetensors import safe_open
from tiny import write_cloze_recipe

from ptv2_scale import Predictor, load_prompted, load_row_encoder
from ptv2_scale.config import load_recipe
from ptv2_scale.model.setup import open_setup


def first_table(recipe: Path) -> torch.Tensor:
    setup = open_setup(load_recipe(recipe))
    return setup.method.first_values(setup.config.train.seed)["embedding.weight"]


def test_a_prefix_before_a_verbalizer(tmp_path: Path) -> None:
    prompt = {"length": 6, "frozen_tokens": 2}
    train = {"steps": 8, "micro_batch": 3}
    recipe = write_cloze_recipe(tmp_path, "t5", prompt=prompt, train=train)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    ranks.cli(2, "train", str(recipe), f"run={whole}").must_succeed()
    kill_after(recipe, killed, 2, 5)
    ranks.cli(2, "train", str(recipe), f"run={killed}", "--resume", "auto").must_succeed()
    assert losses(killed) == losses(whole)
    exports = [run / "export" / "prompt.safetensors" for run in (whole, killed)]
    assert exports[0].read_bytes() == exports[1].read_bytes()
    with safe_open(exports[0], "pt") as file:
        assert list(file.keys()) == ["prefix"]  # of the head nothing is trained
        same = (file.get_tensor("prefix") == first_table(recipe)).all(1)
        assert same.tolist() == [True, True, False, False, False, False]
    card = json.loads((whole / "export" / "card.json").read_text())
    assert card["head"] == "verbalizer"
    assert card["recipe"]["task"]["verbalizer"] == {"no": "w3", "yes": "w7"}
    assert "- pattern: {text} w90 w91 {mask}" in (whole / "export" / "README.md").read_text()
    rows = [{"text": "w0 w20"}, {"text": "w1 w30 w31 w32"}]
    model, encode = load_prompted(whole), load_row_encoder(whole)
    with torch.no_grad():
        expected = model(**encode(rows)).logits.softmax(-1)
    for record, row in zip(Predictor.load(whole).predict(rows), expected, strict=True):
        assert list(record["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-5)
