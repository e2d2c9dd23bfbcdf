"""What keeps its first values: no gradient reaches it, and training leaves it as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import CartridgeConfig, get_peft_model
from plain import gradients, ours
from safetensors.torch import load_file
from tiny import save_backbone, write_recipe
from torch import Tensor
from transformers import AutoModel

from ptv2_scale import UserError, train
from ptv2_scale.cli import main
from ptv2_scale.config import Prefix, load_recipe
from ptv2_scale.model.setup import open_setup

TABLE = "prefix_encoder.embedding.weight"
LENGTH = 6
KEPT = [{"frozen_tokens": 2}, {"parts": "values"}, {"frozen_tokens": 2, "parts": "values"}]


def kept_places(section: dict[str, Any], table: Tensor, heads: int, width: int) -> Tensor:
    """Which numbers of a table keep their first values, by the layout of the official code."""
    kept = torch.zeros(table.shape, dtype=torch.bool).view(LENGTH, -1, 2, heads, width)
    kept[: section.get("frozen_tokens", 0)] = True
    if section.get("parts") == "values":
        kept[:, :, 0] = True  # of each layer: its keys, then its values
    return kept.view(table.shape)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("section", KEPT, ids=str)
def test_the_rest_gets_the_gradient_of_a_whole_prefix(
    section: dict[str, Any], checkpointing: bool, tmp_path: Path
) -> None:
    save_backbone("llama", tmp_path)
    common = {"length": LENGTH, "dropout": 0.0}
    whole, _ = ours(tmp_path, common)
    model, _ = ours(tmp_path, {**common, **section}, checkpointing)
    expected, found = gradients(whole, "right"), gradients(model, "right")
    table = expected[TABLE]
    assert table is not None
    kept = kept_places(section, table, heads=2, width=8)
    assert 0 < kept.sum() < kept.numel()
    assert not found[TABLE][kept].any()
    torch.testing.assert_close(found[TABLE][~kept], table[~kept], rtol=1e-5, atol=1e-6)
    assert model.adapter.kept_elements == kept.sum()


def trained_table(folder: Path, prompt: dict[str, Any]) -> tuple[Tensor, Any]:
    recipe = write_recipe(folder, "llama", prompt=prompt, train={"steps": 3, "micro_batch": 6})
    result = train(recipe)
    return load_file(folder / "run" / "export" / "prompt.safetensors")["prefix"], result


def test_a_run_leaves_it_to_the_bit_and_counts_it_as_frozen(tmp_path: Path, capsys: Any) -> None:
    prompt = {"length": LENGTH, **KEPT[2]}
    after, result = trained_table(tmp_path, prompt)
    recipe = tmp_path / "recipe.yaml"
    setup = open_setup(load_recipe(recipe))
    before = setup.method.first_values(setup.config.train.seed)["embedding.weight"]
    kept = kept_places(prompt, before, heads=2, width=8)
    assert torch.equal(after[kept], before[kept])
    assert (after[~kept] != before[~kept]).all()
    head = 32 * 2 + 2
    assert result.trained_parameters == (~kept).sum() + head
    whole = sum(p.numel() for p in AutoModel.from_pretrained(tmp_path / "backbone").parameters())
    assert result.backbone_parameters == whole + kept.sum()
    assert main(["inspect", str(recipe)]) == 0
    printed = capsys.readouterr().out
    assert "the first 2 tokens keep their first values" in printed
    assert f"checkpoint: about {12 * (kept.numel() + head) / 2**20:.2f} MiB" in printed


def test_a_folder_of_pefts_cartridge_is_started_from(tmp_path: Path) -> None:
    base = AutoModel.from_pretrained(save_backbone("llama", tmp_path / "base"))
    config = CartridgeConfig(
        task_type="FEATURE_EXTRACTION", num_virtual_tokens=LENGTH, num_frozen_tokens=1
    )
    theirs = get_peft_model(base, config)
    theirs.save_pretrained(tmp_path / "cartridge")
    saved = theirs.prompt_encoder["default"].weight.detach()
    after, _ = trained_table(
        tmp_path,
        {"length": LENGTH, "frozen_tokens": 1, "init": "saved",
         "init_from": str(tmp_path / "cartridge")},
    )  # fmt: skip
    assert torch.equal(after[0], saved[0])
    assert not torch.equal(after[1], saved[1])
    torch.testing.assert_close(after, saved, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({"frozen_tokens": 6, "length": 6}, "Set prompt.frozen_tokens to 5 at most"),
        ({"frozen_tokens": 20}, "prompt.length is 20: no token would be trained"),
        ({"frozen_tokens": 1, "encoder": "mlp"}, "Set encoder: table, or remove frozen_tokens"),
        ({"parts": "values", "encoder": "mlp"}, "Set encoder: table, or remove parts"),
    ],
)
def test_what_cannot_keep_its_first_values(prompt: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Prefix.model_validate(prompt)


def test_weight_decay_would_change_it(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, "bert", prompt={"length": 6, "parts": "values"})
    with pytest.raises(UserError, match="would shrink what is to keep its first values"):
        train(recipe, ["train.weight_decay=0.01"])
    assert not (tmp_path / "run").exists()
