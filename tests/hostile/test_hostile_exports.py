"""Exports of strangers: card, tensors, names; turned into PEFT's folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from arena import Arena
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from strategies import damaged, file_names, json_bytes, trials

from ptv2_scale.backbones.tensor_files import read_whole
from ptv2_scale.config import RunConfig
from ptv2_scale.export.card import export_folder, model_card, read_card
from ptv2_scale.export.native import trained_tensors
from ptv2_scale.export.peft import export_peft

RECIPE = RunConfig.model_validate(
    {
        "backbone": {"name": "demo"},
        "prompt": {"length": 2},
        "task": {"name": "demo", "labels": ["a", "b"], "head": "hf"},
    }
)
CARD: dict[str, Any] = {
    "backbone": "demo", "family": "Llama", "fingerprint": "0" * 64,
    "recipe": RECIPE.model_dump(mode="json"), "labels": ["a", "b"], "head": "score", "length": 2,
    "slots": [["decoder", 0], ["decoder", 1]], "kv_heads": 1, "head_dim": 2, "every_slot": True,
    "result": {"metric": "accuracy", "split": "validation", "value": 0.5, "majority": 0.5,
               "trained_parameters": 3, "backbone_parameters": 4},
    "format": 1,
}  # fmt: skip
TENSORS = {"prefix": torch.ones(2, 8), "head.score.weight": torch.ones(2, 3)}


@pytest.fixture(scope="module")
def export(arena: Arena) -> Path:
    folder = arena.inside / "export"
    folder.mkdir()
    return folder


def written(folder: Path, card: bytes, tensors: bytes) -> None:
    (folder / "card.json").write_bytes(card)
    (folder / "prompt.safetensors").write_bytes(tensors)


def use(folder: Path, target: Path) -> None:
    """Read it, tell about it, and turn it into PEFT's."""
    card = read_card(folder)
    config = card.config()
    assert isinstance(config, RunConfig)
    model_card(card)
    trained = trained_tensors(folder)
    for name in trained.names():
        read_whole(trained, name)
    shutil.rmtree(target, ignore_errors=True)
    try:
        export_peft(folder, target)
    finally:
        assert not list(target.parent.glob(".*.building"))  # nothing half made is left


@trials(3)
@given(data=st.data())
def test_cards(arena: Arena, export: Path, data: st.DataObject) -> None:
    written(export, data.draw(json_bytes(CARD, str(arena.canary))), save(TENSORS))
    arena.attempt("export card", lambda: use(export, arena.inside / "peft"))


@trials()
@given(data=st.data())
def test_tensors(arena: Arena, export: Path, data: st.DataObject) -> None:
    names = st.sampled_from(["prefix", "head.score.weight", "head.../../x", "head.", "x"])
    sizes = st.lists(st.integers(0, 8), max_size=3)
    made = st.dictionaries(names, sizes.map(torch.zeros), max_size=4).map(save)
    written(export, json.dumps(CARD).encode(), data.draw(made | damaged(save(TENSORS))))
    arena.attempt("export tensors", lambda: use(export, arena.inside / "peft"))


@trials(0.3)
@given(data=st.data())
def test_names_of_exports(arena: Arena, data: st.DataObject) -> None:
    name = data.draw(file_names(str(arena.canary)))
    arena.attempt("export path", lambda: export_folder(Path(name)))


@pytest.mark.parametrize("place", ["peft", ".peft.building"])
@pytest.mark.parametrize("to", ["outside", "nowhere"])
def test_links_in_the_place_of_a_target(arena: Arena, export: Path, place: str, to: str) -> None:
    """What a link names is neither written nor deleted."""
    written(export, json.dumps(CARD).encode(), save(TENSORS))
    target = arena.inside / "peft"
    shutil.rmtree(target, ignore_errors=True)
    link = arena.inside / place
    link.symlink_to(arena.outside if to == "outside" else arena.outside / "nowhere")
    assert arena.attempt("export path", lambda: export_peft(export, target)) is not None
    link.unlink()


def test_a_good_one_is_accepted(arena: Arena, export: Path) -> None:
    written(export, json.dumps(CARD).encode(), save(TENSORS))
    assert arena.attempt("control", lambda: use(export, arena.inside / "peft")) is None
