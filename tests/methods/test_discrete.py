"""A run that trains nothing: scored, exported and used like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny import write_cloze_recipe

from ptv2_scale import Predictor, UserError, load_prompted, load_row_encoder, train


@pytest.mark.parametrize("deepspeed", ["zero3", "zero1"])
def test_nothing_is_trained_and_all_else_is_done(deepspeed: str, tmp_path: Path) -> None:
    recipe = write_cloze_recipe(tmp_path, "bert")
    overrides = ["prompt={method: discrete}", f"deepspeed={deepspeed}"]
    result = train(recipe, overrides)
    assert (result.steps, result.trained_parameters, result.best_step) == (0, 0, 0)
    lines = (tmp_path / "data" / "validation.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    model, encode = load_prompted(tmp_path / "run"), load_row_encoder(tmp_path / "run")
    with torch.no_grad():
        best = model(**encode(rows)).logits.argmax(-1).tolist()
    answers = [("no", "yes")[number] for number in best]
    assert [one["label"] for one in Predictor.load(tmp_path / "run").predict(rows)] == answers
    right = sum(row["label"] == answer for row, answer in zip(rows, answers, strict=True))
    assert result.value == pytest.approx(right / len(rows))
    again = train(recipe, overrides, resume="auto")
    assert (again.steps, again.value) == (0, result.value)


def test_a_head_that_would_stay_random(tmp_path: Path) -> None:
    recipe = write_cloze_recipe(tmp_path, "bert")
    overrides = ["prompt={method: discrete}", "task.head=linear"]
    with pytest.raises(UserError, match="discrete trains nothing, so the head 'linear'"):
        train(recipe, overrides)
    assert not (tmp_path / "run").exists()
