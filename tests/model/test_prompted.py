"""The prompted model: what it gives the backbone, whose parameters may be trained, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_setup import fake_setup
from tiny import WORDS, batch_of, save_backbone, save_tokenizer, write_recipe
from torch import Tensor
from transformers import AutoModel

from ptv2_scale.backbones.load import load_backbone, open_backbone
from ptv2_scale.cli import main
from ptv2_scale.config import HeadOnly
from ptv2_scale.data.collate import Batch
from ptv2_scale.estimate.layers import on_meta
from ptv2_scale.methods.base import Method
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import build_model
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.heads import LinearHead


def without_method(folder: Path) -> PromptedModel:
    files, backbone = open_backbone(str(folder)), load_backbone(str(folder))
    method = Method(HeadOnly(method="none"), files.family, files.config)
    return PromptedModel(backbone, files.family, LinearHead(32, 3, "first"), method).eval()


def last_states(folder: Path, **given: Any) -> tuple[Tensor, Tensor]:
    """By our model with all that is given, and by transformers with what the text needs."""
    batch = batch_of("right")
    model = without_method(folder)
    seen: list[Tensor] = []
    model.backbone.register_forward_hook(lambda *call: seen.append(call[2].last_hidden_state))
    reference = AutoModel.from_pretrained(folder).eval()
    start = {"decoder_input_ids": torch.zeros(3, 1, dtype=torch.long)}
    with torch.no_grad():
        model(**batch, **given)
        theirs = reference(**batch, **(start if reference.config.is_encoder_decoder else {}))
    mask = batch["attention_mask"].bool()
    if reference.config.is_encoder_decoder:
        mask = torch.ones(3, 1, dtype=torch.bool)
    return seen[0][mask], theirs.last_hidden_state[mask]


TYPES = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 1]] * 3)
FOREIGN = {
    "token_type_ids": TYPES,
    "special_tokens_mask": TYPES,
    "length": torch.tensor([9, 6, 4]),
    "position_ids": TYPES,
    "mm_token_type_ids": TYPES,
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize(
    ("kind", "changes"),
    [("roberta", {"type_vocab_size": 1}), ("bert", {"type_vocab_size": 1}), ("gpt2", {}),
     ("t5", {}), ("llama", {}), ("opt", {})],
)  # fmt: skip
def test_what_a_family_does_not_declare_is_dropped(
    kind: str, changes: dict[str, Any], name: str, tmp_path: Path
) -> None:
    save_backbone(kind, tmp_path, **changes)
    ours, theirs = last_states(tmp_path, **{name: FOREIGN[name]})
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_types_reach_a_table_that_has_rows_for_them(kind: str, tmp_path: Path) -> None:
    save_backbone(kind, tmp_path, type_vocab_size=2)
    batch = batch_of("none")
    model, reference = without_method(tmp_path), AutoModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        ours = model(**batch, token_type_ids=TYPES).features
        theirs = reference(**batch, token_type_ids=TYPES).last_hidden_state[:, 0]
        plain = reference(**batch).last_hidden_state[:, 0]
        missing = model(**batch).features
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(missing, plain, rtol=1e-4, atol=1e-4)
    assert (ours - missing).abs().max() > 0.01


def test_pairs_with_types_train_a_roberta_that_has_none(tmp_path: Path) -> None:
    """Through the command line: a tokenizer that tells two texts apart, a model that does not."""
    recipe = write_recipe(tmp_path, "roberta", backbone_config={"type_vocab_size": 1})
    folder = tmp_path / "backbone"
    save_tokenizer(folder, pad_token_id=1)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    for piece in tokenizer["post_processor"]["pair"][3:]:
        next(iter(piece.values()))["type_id"] = 1
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    for name in ("train", "validation"):
        rows = [
            {"a": WORDS[number], "b": WORDS[number + 1], "label": ("no", "yes")[number % 2]}
            for number in range(8)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "data" / f"{name}.jsonl").write_text(text)
    columns = ("task.text=a", "task.text_pair=b")
    assert main(["train", str(recipe), *columns, "train.steps=1"]) == 0


def test_a_missing_mask_is_made_and_missing_ids_are_named(tmp_path: Path) -> None:
    save_backbone("llama", tmp_path)
    model, batch = without_method(tmp_path), batch_of("none")
    with torch.no_grad():
        found = model(input_ids=batch["input_ids"]).features
        torch.testing.assert_close(found, model(**batch).features, rtol=0, atol=0)
    with pytest.raises(UserError, match="input_ids: missing, found attention_mask"):
        model(attention_mask=batch["attention_mask"])


@pytest.mark.parametrize("kind", ["llama", "gpt2", "glm4"])
def test_no_value_is_asked_for_where_padding_is_known(kind: str, tmp_path: Path) -> None:
    """On the meta device there is none, and on a GPU each such question waits for the GPU."""
    setup = fake_setup(save_backbone(kind, tmp_path), backbone={"attention": "causal"})
    model = on_meta(build_model(setup)).train()
    batch = Batch(batch_of("right")).to(torch.device("meta"))
    model(**batch.arguments).outputs.sum().backward()
    with pytest.raises((NotImplementedError, RuntimeError)):
        model(**batch.inputs)
