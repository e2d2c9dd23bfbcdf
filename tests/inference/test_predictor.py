"""`Predictor` in one process, against the plain module on the same rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import ranks
import torch
from tiny import write_recipe

from ptv2_scale import Predictor, load_prompted
from ptv2_scale.runtime.errors import UserError

ROWS = [{"text": "w0 w20 w30"}, {"text": "w1 w44"}, {"text": "w71 w1 w3 w0 w9"}]


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs on one backbone."""
    folder = tmp_path_factory.mktemp("job")
    recipe = write_recipe(folder, train={"steps": 2})
    runs = [folder / "one", folder / "two"]
    for seed, run in enumerate(runs):
        ranks.cli(1, "train", str(recipe), f"run={run}", f"train.seed={seed}").must_succeed()
    return runs


def test_answers_are_those_of_the_plain_module(exports: list[Path]) -> None:
    predictor = Predictor.load(*exports)
    assert predictor.names == ("one", "two")
    for folder in exports:
        model = load_prompted(folder)
        setup = predictor._exports[folder.name].setup
        for row, record in zip(ROWS, predictor.predict(ROWS, folder.name), strict=True):
            ids = torch.tensor([setup.encode([row], with_targets=False)[0].inputs["input_ids"]])
            with torch.no_grad():
                logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).outputs
            truth = logits.softmax(-1)[0].tolist()
            assert list(record["probabilities"].values()) == pytest.approx(truth, abs=1e-5)
            assert record["label"] == max(record["probabilities"], key=record["probabilities"].get)


def test_evaluate_is_the_score_of_its_answers(exports: list[Path]) -> None:
    predictor = Predictor.load(exports[0])
    metrics, trivial = predictor.evaluate("one", "validation")
    data = predictor._exports["one"].setup.split("validation")
    answers = predictor.predict(data.rows)
    right = sum(a["label"] == row["label"] for a, row in zip(answers, data.rows, strict=True))
    assert metrics["accuracy"] == right / len(data.rows)
    labels = [row["label"] for row in data.rows]
    assert trivial.value == max(labels.count("no"), labels.count("yes")) / len(labels)


def test_two_exports_of_one_name_are_refused(exports: list[Path]) -> None:
    with pytest.raises(UserError, match="called alike"):
        Predictor.load(exports[0], exports[0])
