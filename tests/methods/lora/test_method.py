"""LoRA as a method: its guard, its first values, its refusals, and the folder that PEFT loads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft_folders import check_peft, random_export, setup_of
from plain import ours
from tiny import MODEL_TYPES, batch_of, save_backbone, write_recipe

from ptv2_scale import Predictor
from ptv2_scale.backbones import deltas
from ptv2_scale.backbones.load import open_backbone
from ptv2_scale.cli import main
from ptv2_scale.config import Lora
from ptv2_scale.methods.guard import MethodUnusedError
from ptv2_scale.methods.registry import build_method

LORA = {"method": "lora", "rank": 3, "alpha": 5.0}


@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_every_family_passes_the_guard_and_is_left_as_it_was(kind: str, tmp_path: Path) -> None:
    model, _ = ours(save_backbone(kind, tmp_path), LORA, checkpointing=True)
    with torch.no_grad():
        for name, parameter in model.adapter.named_parameters():
            if "lora_B" in name:
                parameter.zero_()  # as they are at first
    model.eval()
    model.method.guard(model, model, batch_of("right"))
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_term_that_is_not_added_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = ours(save_backbone("llama", tmp_path), LORA)
    add = deltas._add_delta

    def lost(layer: Any, given: Any, output: Any) -> Any:
        add(layer, given, output)
        return output

    layer = model.backbone.layers[1].self_attn.q_proj
    layer._forward_hooks.update(dict.fromkeys(layer._forward_hooks, lost))
    with pytest.raises(MethodUnusedError, match="LoRA term of layers.1.self_attn.q_proj"):
        model.method.guard(model, model, batch_of("right"))
    layer._forward_hooks.clear()
    with pytest.raises(MethodUnusedError, match="a layer was not called"):
        model.method.guard(model, model, batch_of("right"))


def test_first_values_are_the_seeds_and_add_nothing(tmp_path: Path) -> None:
    files = open_backbone(str(save_backbone("bert", tmp_path)))
    method = build_method(Lora(method="lora", rank=4), files.family, files.config)
    found = method.first_values(1)
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in found} == {"lora_A", "lora_B"}
    for name, value in found.items():
        if "lora_B" in name:
            assert not value.any()
        else:  # kaiming_uniform with a = sqrt(5)
            assert 0.8 * 32**-0.5 < float(value.abs().max()) <= 32**-0.5
    again, other = method.first_values(1), method.first_values(2)
    assert all(torch.equal(value, again[name]) for name, value in found.items())
    assert any(not torch.equal(value, other[name]) for name, value in found.items())


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2", "opt", "llama", "gpt_neox"])
def test_peft_loads_the_export_and_gives_the_same_logits(kind: str, tmp_path: Path) -> None:
    theirs = check_peft(tmp_path, kind, {**LORA, "rslora": True})
    assert theirs.active_peft_config.peft_type == "LORA"


def test_several_exports_share_a_backbone(tmp_path: Path) -> None:
    setups = [setup_of(tmp_path, "llama", {**LORA, "rank": rank}) for rank in (2, 3)]
    folders = [random_export(setup, tmp_path / f"e{n}") for n, setup in enumerate(setups)]
    rows = [{"text": "w1 w2 w3"}, {"text": "w4"}]
    several = Predictor.load(*folders)
    alone = [Predictor.load(folder).predict(rows) for folder in folders]
    assert [several.predict(rows, folder.name) for folder in folders] == alone
    assert alone[0] != alone[1]


def refused(folder: Path, capsys: Any, *overrides: str) -> str:
    assert main(["inspect", str(write_recipe(folder, "bert", prompt=LORA)), *overrides]) == 2
    return str(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (
            "[quer]",
            "target_modules: this backbone has no layer 'quer'. Did you mean 'query'",
        ),
        ("[LayerNorm]", "a LayerNorm; terms stand beside linear layers: dense, key, query, value."),
    ],
)
def test_layers_that_cannot_be_are_named(
    targets: str, said: str, tmp_path: Path, capsys: Any
) -> None:
    assert said in refused(tmp_path, capsys, f"prompt.target_modules={targets}")


def test_without_peft_it_says_what_to_install(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    assert "Install it: pip install 'ptv2_scale[peft]'" in refused(tmp_path, capsys)


def test_inspect_counts_the_terms(tmp_path: Path, capsys: Any) -> None:
    assert main(["inspect", str(write_recipe(tmp_path, "bert", prompt=LORA))]) == 0
    printed = capsys.readouterr().out
    (line,) = [one for one in printed.splitlines() if one.startswith("lora")]
    assert line.split()[1:3] == ["trained", f"{3 * 2 * 3 * (32 + 32):,}"]
    assert "LoRA: rank 3 beside 6 layers (query, value)" in printed
