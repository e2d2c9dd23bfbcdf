"""Classic GLM's folders: as published, saved by our class, beside GLM-4's; and its presets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import published_glm
import pytest
import torch
from tiny import save_backbone

from ptv2_scale import load_backbone
from ptv2_scale.backbones.glm_classic import ClassicGlm
from ptv2_scale.backbones.load import build_empty, open_backbone
from ptv2_scale.backbones.naming import PRESETS
from ptv2_scale.backbones.presets import open_shape
from ptv2_scale.cli import main
from ptv2_scale.runtime.errors import UserError


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize("stem", ["glm.", ""])
def test_folders_as_published(stem: str, form: str, tmp_path: Path) -> None:
    folder = published_glm.save(tmp_path, stem, form)
    model = load_backbone(str(folder), trust_remote_code=True)  # its code raises where it is run
    expected = published_glm.weights(published_glm.CONFIG)
    found = dict(model.named_parameters())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    # Python's own road to the class takes both, too.
    again = ClassicGlm.from_pretrained(folder, config=model.config)
    assert torch.equal(again.word_embeddings.weight, expected["word_embeddings.weight"])


def test_a_saved_folder_is_the_same_model_and_names_no_code(tmp_path: Path) -> None:
    model = load_backbone(str(published_glm.save(tmp_path / "published")))
    model.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert "auto_map" not in saved
    assert saved["model_type"] == "glm_classic"
    again = load_backbone(str(tmp_path / "saved"))
    input_ids = torch.arange(10)[None]
    first, second = (m(input_ids).logits for m in (model, again))
    assert torch.equal(first, second)


def test_the_two_architectures_of_one_name_side_by_side(tmp_path: Path) -> None:
    published_glm.save(tmp_path / "classic")
    save_backbone("glm", tmp_path / "glm-4")
    families = {}
    for folder in ("classic", "glm-4"):
        content = json.loads((tmp_path / folder / "config.json").read_text())
        assert content["model_type"] == "glm"
        families[folder] = open_backbone(str(tmp_path / folder)).family.name
    assert families == {"classic": "classic GLM", "glm-4": "GLM-4"}


def mixed(tmp_path: Path, kind: str) -> Path:
    classic = published_glm.save(tmp_path / "classic")
    four = save_backbone("glm", tmp_path / "four")
    config = published_glm.config()
    if kind == "weights of the other":
        shutil.copy(four / "model.safetensors", classic)
    elif kind == "keys of both":
        config |= {"num_hidden_layers": 3, "num_key_value_heads": 2}
    else:
        config = {"model_type": "glm", "hidden_size": 30}
    (classic / "config.json").write_text(json.dumps(config))
    return classic


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (
            "weights of the other",
            "keys num_layers, max_sequence_length; 35 weights, such as layers.0.self_attn.q_proj",
        ),
        (
            "keys of both",
            "keys num_layers, max_sequence_length, num_hidden_layers, num_key_value_heads; 41"
            " weights, such as glm.transformer.layers.0.attention.query_key_value.weight",
        ),
        ("keys of none", "keys none of these; 41 weights"),
    ],
)
def test_a_folder_that_is_neither(kind: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_backbone(str(mixed(tmp_path, kind)))
    message = str(caught.value)
    assert str(tmp_path / "classic" / "config.json") in message
    assert "the name of two architectures, and this folder is neither" in message
    for looked_for in ("max_sequence_length", "query_key_value.weight", "self_attn.q_proj.weight"):
        assert looked_for in message.split("Found:")[0]
    assert found in message.split("Found:")[1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"relative_encoding": True}, "relative_encoding is set"),
        ({"block_position_encoding": False}, "block_position_encoding is off"),
        ({"num_attention_heads": 4}, "hidden_size 30 is no multiple of num_attention_heads 4"),
        ({"num_layers": "three"}, "num_layers"),
        ({"hidden_act": "relu"}, "hidden_act"),
    ],
)
def test_settings_that_cannot_work(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    published_glm.save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(published_glm.config(**changes)))
    with pytest.raises(UserError, match=reason):
        open_backbone(str(tmp_path))


# Sizes as they are known, in millions of parameters.
MILLIONS = {
    "glm-large": 334.7, "glm-410m": 410.3, "glm-515m": 514.6, "glm-2b": 1920.1, "glm-10b": 9880.7,
}  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_built_without_memory(name: str) -> None:
    model = build_empty(open_shape(name), torch.bfloat16)
    assert all(parameter.is_meta for parameter in model.parameters())
    count = sum(parameter.numel() for parameter in model.parameters())
    assert round(count / 1e6, 1) == MILLIONS.get(name, round(count / 1e6, 1))
    assert count == 9_880_682_496 or name != "glm-10b"


def test_a_preset_is_inspected_and_not_trained(tmp_path: Path, capsys: Any) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("backbone: {name: glm-10b}\ntask: {name: superglue/rte}\n")
    assert main(["inspect", str(recipe), "prompt.length=100"]) == 0
    output = capsys.readouterr().out
    assert "9,880,682,496" in output
    assert "100 tokens x 48 slots (48 decoder) x 2 x 64 key/value heads x 64" in output
    assert main(["train", str(recipe)]) == 2
    assert "'glm-10b' is a preset: a shape without weights" in capsys.readouterr().err
