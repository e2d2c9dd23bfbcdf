"""Tokens without a row in the embedding: found before training, wherever text is encoded."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from tiny import save_tokenizer, write_recipe
from transformers import AutoModel, AutoTokenizer

from ptv2_scale.backbones.vocabulary import check_ids, unknown_tokens
from ptv2_scale.cli import main
from ptv2_scale.config import load_recipe
from ptv2_scale.launchers.doctor.settings import check_settings
from ptv2_scale.model.setup import open_setup
from ptv2_scale.runtime.errors import UserError


def add_tokens(folder: Path, words: Sequence[str], pad: str | None = None) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(list(words))
    if pad is not None:
        tokenizer.add_special_tokens({"pad_token": pad})
    tokenizer.save_pretrained(folder)


def write_rows(folder: Path, texts: Sequence[str]) -> None:
    rows = [{"text": text, "label": ("no", "yes")[place % 2]} for place, text in enumerate(texts)]
    for name in ("train", "validation"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "data" / f"{name}.jsonl").write_text(text)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A Llama of 120 rows; its tokenizer has 105 tokens."""
    return write_recipe(tmp_path, "llama")


NEW = [f"new{number}" for number in range(20)]  # ids 105 to 124


@pytest.mark.parametrize("command", ["train", "inspect"])
def test_a_pad_token_without_a_row_is_refused(
    recipe: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where a [PAD] was added to a Llama whose words fill its embedding."""
    add_tokens(recipe.parent / "backbone", NEW, pad="[PAD]")
    assert main([command, str(recipe)]) == 2
    message = capsys.readouterr().err
    assert "the tokenizer's pad token: '[PAD]' has the id 125, and the backbone's embedding" in (
        message
    )
    assert "120 rows (0 to 119)" in message
    assert "resize_token_embeddings" in message
    assert not (recipe.parent / "run").exists()


def test_a_word_without_a_row_is_refused_with_its_row(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_tokens(recipe.parent / "backbone", NEW)
    write_rows(recipe.parent, ["w1 w2", "w3 new14", "w3 new15 new19", "w1"])
    assert main(["train", str(recipe)]) == 2
    place = f"{recipe.parent}/data/train.jsonl:3"
    wanted = f"{place}: 'new15' has the id 120, and the backbone's embedding has 120 rows"
    assert wanted in capsys.readouterr().err


def test_words_that_have_rows_are_taken(recipe: Path, caplog: pytest.LogCaptureFixture) -> None:
    add_tokens(recipe.parent / "backbone", NEW[:15])
    write_rows(recipe.parent, ["w1 w2", "w3 new14"])
    with caplog.at_level(logging.WARNING):
        examples = open_setup(load_recipe(recipe)).split("train").examples
    assert max(examples[1].inputs["input_ids"]) == 119
    assert "have no row" not in caplog.text


def test_inspect_tells_of_words_without_rows(
    recipe: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_tokens(recipe.parent / "backbone", NEW)
    assert main(["inspect", str(recipe)]) == 0
    assert "5 of the tokenizer's 125 tokens have no row in the backbone's embedding of 120" in (
        caplog.text
    )
    assert "'new15' (120), 'new16' (121), 'new17' (122), ...;" in caplog.text


def test_a_backbone_that_was_resized_is_taken(recipe: Path) -> None:
    folder = recipe.parent / "backbone"
    add_tokens(folder, NEW, pad="[PAD]")
    model = AutoModel.from_pretrained(folder)
    model.resize_token_embeddings(126)
    model.save_pretrained(folder)
    assert main(["inspect", str(recipe)]) == 0
    assert open_setup(load_recipe(recipe)).padding.token == 125


def test_a_tokenizer_of_its_own_folder(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = recipe.parent / "tokenizer"
    save_tokenizer(other)
    add_tokens(other, NEW, pad="[PAD]")
    assert main(["inspect", str(recipe), f"backbone.tokenizer={other}"]) == 2
    assert "'[PAD]' has the id 125" in capsys.readouterr().err


def test_the_text_that_a_prefix_starts_from(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_tokens(recipe.parent / "backbone", NEW)
    prompt = ("prompt.init=text", "prompt.init_text=w1 new18")
    assert main(["train", str(recipe), *prompt]) == 2
    assert "prompt.init_text: 'new18' has the id 123" in capsys.readouterr().err


def test_the_token_that_a_decoder_starts_from(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, "t5", backbone_config={"decoder_start_token_id": 120})
    with pytest.raises(UserError, match="starts from token 120, and vocab_size is 120"):
        open_setup(load_recipe(recipe))


@pytest.mark.parametrize("ids", [[5, 10], [-1], [None, 3]])
def test_ids_that_are_none_of_a_tables(ids: list[int]) -> None:
    with pytest.raises(UserError, match=r"row 3: .* has the id (10|-1|None)"):
        check_ids({"input_ids": ids}, {"input_ids": 10}, "row 3", str)


def test_types_beyond_their_table() -> None:
    inputs = {"input_ids": [1, 2], "token_type_ids": [0, 2]}
    tables = {"input_ids": 10, "token_type_ids": 2}
    with pytest.raises(UserError, match="row 1: the tokenizer gives token_type_ids of 2"):
        check_ids(inputs, tables, "row 1", str)


def test_all_tokens_have_rows() -> None:
    assert unknown_tokens({"a": 0, "b": 9}, 10) is None


def test_the_doctor_tells_of_them(recipe: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = recipe.parent / "backbone"
    add_tokens(folder, NEW)
    (found,) = check_settings(load_recipe(recipe), [1])
    assert (found.level, "'new15' (120)" in caplog.text) == ("ok", True)
    add_tokens(folder, [], pad="[PAD]")
    (found,) = check_settings(load_recipe(recipe), [1])
    assert (found.level, "'[PAD]' has the id 125" in found.text) == ("FAIL", True)
