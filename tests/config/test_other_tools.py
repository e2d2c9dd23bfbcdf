"""Keys of other tools are answered with a key that a recipe really has."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptv2_scale.config import load_recipe
from ptv2_scale.config.expected import allowed_at
from ptv2_scale.config.other_tools import OTHER_NAMES
from ptv2_scale.runtime.errors import UserError

# The last word of a key that recipes have may mean it in another section, too.
ASKED = {
    "learning_rate": "train.lr",
    "train.batch_size": "train.micro_batch",
    "train.auto_find_batch_size": "train.micro_batch",
    "train.per_device_train_batch_size": "train.micro_batch",
    "prompt.num_virtual_tokens": "prompt.length",
    "task.max_seq_length": "task.max_length",
    "train.num-train-epochs": "train.epochs",
    "train.warmup_ratio": "train.warmup",
    "output_dir": "run",
    "backbone.model_name_or_path": "backbone.name",
    "train.gradient_accumulation_steps": "train.global_batch",
    "fp16": "backbone.dtype",
    "BF16": "backbone.dtype",
    "train.lr_scheduler_type": "train.schedule",
    "save_steps": "checkpoint.every",
    "evaluate.eval_steps": "evaluate.every",
}


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_what_is_suggested_is_a_key_of_recipes(name: str) -> None:
    ours = OTHER_NAMES[name]
    assert name == name.lower()
    assert allowed_at(ours.key.split(".")) if ours.key else ours.note
    assert not ours.note or ours.note.endswith(".")


def test_no_key_of_ours_at_its_own_place_is_in_the_table() -> None:
    """Such a key is never unknown, so its entry would never be read."""
    for name, ours in OTHER_NAMES.items():
        section = ours.key.rpartition(".")[0]
        assert not allowed_at([*filter(None, [section]), name]) or name == "dtype"


def said(override: str, tmp_path: Path) -> str:
    recipe = tmp_path / "x.yaml"
    recipe.write_text("backbone: {name: t5-base}\ntask: {name: superglue/rte}\n")
    with pytest.raises(UserError) as caught:
        load_recipe(recipe, [override])
    return str(caught.value)


@pytest.mark.parametrize("key", ASKED)
def test_an_unknown_key_is_answered_with_ours(key: str, tmp_path: Path) -> None:
    message = said(f"{key}=1", tmp_path)
    assert f"{key}: unknown key. Here it is '{ASKED[key]}'." in message


def test_a_note_says_what_differs(tmp_path: Path) -> None:
    message = said("train.gradient_accumulation_steps=4", tmp_path)
    assert "examples of an optimizer step over all ranks" in message
    message = said("train.logging_steps=10", tmp_path)
    assert "A recipe has no such key. metrics.jsonl has a line for every step. Allowed:" in message


@pytest.mark.parametrize(
    ("key", "near"), [("seed", "train.seed"), ("weight_decay", "train.weight_decay")]
)
def test_a_key_of_the_same_name_is_found_in_its_section(
    key: str, near: str, tmp_path: Path
) -> None:
    assert f"{key}: unknown key. Did you mean '{near}'?" in said(f"{key}=1", tmp_path)
