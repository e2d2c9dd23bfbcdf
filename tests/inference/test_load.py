"""`load_prompted` and `Predictor.load` refuse what they cannot use, by name."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import write_recipe
from transformers import (
    AutoModel,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from untrained import export_untrained

import ptv2_scale
from ptv2_scale import Predictor, UserError, load_backbone, load_prompted, load_row_encoder
from ptv2_scale.export.card import read_card

OLD = Path(__file__).parents[1] / "fixtures" / "run-0.1.0"


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An export beside the T5 that it belongs to, in the current folder."""
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return "export"


def message_of(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        action()
    return str(caught.value)


@pytest.mark.parametrize(
    "kind", [AutoModel, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification]
)
def test_a_model_that_load_backbone_did_not_give(export: str, kind: Any) -> None:
    model = kind.from_pretrained("backbone")
    message = message_of(lambda: load_prompted(export, backbone=model))
    assert f"backbone: found a {type(model).__name__}, expected what load_backbone" in message


@pytest.mark.parametrize("given", [torch.nn.Linear(2, 2), {"backbone": 1}, 3])
def test_what_is_no_backbone_at_all(export: str, given: Any) -> None:
    found = f"backbone: found a {type(given).__name__}, expected"
    assert found in message_of(lambda: load_prompted(export, backbone=given))
    assert found in message_of(lambda: Predictor.load(export, backbone=given))


def test_a_backbone_that_load_backbone_gave_is_shared(export: str) -> None:
    backbone = load_backbone(Path("backbone"))
    assert load_prompted(export, backbone=backbone).backbone is backbone


@pytest.mark.parametrize("source", [None, 3, ["export"]])
def test_a_source_that_is_no_path(export: str, source: Any) -> None:
    for action in (load_prompted, Predictor.load, read_card):
        message = message_of(lambda action=action: action(source))
        assert f"found {source!r}, expected the folder of an export or of a run" in message


def test_a_card_is_read_by_text_as_by_path(export: str) -> None:
    assert read_card(export) == read_card(Path(export)) == read_card("run")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", 3.5])
def test_a_device_that_is_not_there(export: str, device: Any) -> None:
    for action in (load_prompted, Predictor.load):
        message = message_of(lambda action=action: action(export, device=device))
        assert message.startswith(f"device: {device!r}")
    assert message_of(lambda: load_backbone("backbone", device=device)).startswith("device: ")


def test_an_export_generates_nothing(export: str) -> None:
    model = load_prompted(export, backbone="backbone")
    ids = torch.tensor([[5, 6]])
    assert "answers by its task head" in message_of(lambda: model.generate(1, input_ids=ids))


def test_arguments_of_a_predictor(export: str) -> None:
    assert "no export was named" in message_of(Predictor.load)
    predictor = Predictor.load(export, backbone="backbone")
    row = {"text": "w1"}
    assert "no export is called 'other'; there are export." in message_of(
        lambda: predictor.predict([row], "other")
    )
    for wrong in (["w1"], "w1", [None]):
        message = message_of(lambda wrong=wrong: predictor.predict(wrong))
        assert "row 1: found" in message
        assert "expected a mapping of columns, such as {'text': '...'}" in message


ROWS = [{"text": "w1 w2 w3", "id": 1}, {"text": "w4", "label": "unheard of"}]


def test_rows_are_encoded_as_they_were_in_training(export: str) -> None:
    """T5 reads the column's name before the text: what transformers makes of that, padded."""
    tokenizer = AutoTokenizer.from_pretrained("backbone")
    texts = [f"text: {row['text']}" for row in ROWS]
    expected = tokenizer(texts, padding=True, return_tensors="pt")
    found = load_row_encoder(export)(ROWS)
    assert set(found) == {"input_ids", "attention_mask"}
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name])


def test_encoded_rows_have_the_probabilities_of_predict(export: str) -> None:
    backbone = load_backbone("backbone")
    model = load_prompted(export, backbone=backbone)
    with torch.no_grad():
        logits = model(**load_row_encoder(export, backbone=backbone)(ROWS)).logits
    for record, row in zip(Predictor.load(export).predict(ROWS), logits.softmax(-1), strict=True):
        assert list(record["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-5)


def test_texts_are_cut_as_in_training(export: str) -> None:
    longest = read_card(export).config().task.max_length
    found = load_row_encoder(export)([{"text": "w1 " * 500}])
    assert found["input_ids"].shape == (1, longest)


def test_what_cannot_be_encoded_is_named(export: str) -> None:
    encode = load_row_encoder(export)
    found = message_of(lambda: encode([{"text": "w1"}, {"txt": "w1"}]))
    assert found == "row 2: no column 'text'; found: txt. Did you mean 'txt'?"
    assert "row 1, column 'text': found 5, expected text" in message_of(
        lambda: encode([{"text": 5}])
    )
    assert "no folder './none'" in message_of(lambda: load_row_encoder(export, backbone="./none"))
    assert "expected the folder of an export" in message_of(lambda: load_row_encoder(3))


@pytest.mark.parametrize("rows", [None, 3, "w1", ["w1"], {"text": "w1"}, []])
def test_rows_that_are_none(export: str, rows: Any) -> None:
    assert "found" in message_of(lambda: load_row_encoder(export)(rows))


def test_rows_of_a_generator_are_all_answered(export: str) -> None:
    predictor = Predictor.load(export)
    assert predictor.predict(row for row in ROWS) == predictor.predict(ROWS)  # type: ignore[arg-type]
    assert message_of(lambda: predictor.predict(None)).startswith("rows: found None")  # type: ignore[arg-type]
    found = message_of(lambda: predictor.evaluate("export", "dev"))  # type: ignore[arg-type]
    assert found == "split: found 'dev', allowed: train, validation, test."


def test_what_is_not_a_number_is_no_answer(export: str) -> None:
    path = Path(export) / "prompt.safetensors"
    tensors = {name: value.fill_(math.nan) for name, value in load_file(path).items()}
    save_file(tensors, path)
    found = message_of(lambda: Predictor.load(export).predict(ROWS))
    assert found.startswith("export: its outputs are not numbers (NaN)")


def test_a_model_names_its_labels_and_a_card_can_be_read(tmp_path: Path) -> None:
    export = export_untrained(write_recipe(tmp_path, "bert"), tmp_path / "one")
    assert load_prompted(export).labels == ("no", "yes")
    card = ptv2_scale.read_card(export)
    assert isinstance(card, ptv2_scale.Card)
    assert card.recipe["task"]["labels"] == ["no", "yes"]
