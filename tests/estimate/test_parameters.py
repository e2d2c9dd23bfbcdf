"""Sizes of parts from shapes alone, against closed forms and transformers' own count."""

from __future__ import annotations

from pathlib import Path

import pytest
from rounded import linear_layers
from tiny import write_recipe
from transformers import AutoModel

from ptv2_scale.config import load_recipe
from ptv2_scale.estimate.parameters import checkpoint_bytes, part_sizes
from ptv2_scale.model.setup import build_model, open_shapes

WIDTH, SLOTS = 32, 3  # of the tiny BERT
CLASSES = 2


@pytest.mark.parametrize(("dtype", "size"), [("fp32", 4), ("bf16", 2)])
def test_parts_of_a_bert_with_a_prefix(dtype: str, size: int, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, "bert", prompt={"length": 11})
    config = load_recipe(recipe, [f"backbone.dtype={dtype}"])
    parts = {part.part: part for part in part_sizes(build_model(open_shapes(config)))}
    whole = sum(p.numel() for p in AutoModel.from_pretrained(tmp_path / "backbone").parameters())
    backbone, adapter, head = parts["backbone"], parts["prefix_encoder"], parts["head"]
    assert (backbone.trained, backbone.frozen, backbone.nbytes) == (0, whole, size * whole)
    assert (adapter.trained, adapter.frozen) == (11 * SLOTS * 2 * WIDTH, 0)
    assert head.parameters == head.trained == WIDTH * CLASSES + CLASSES
    trained = adapter.trained + head.trained
    assert checkpoint_bytes(list(parts.values())) == 3 * 4 * trained


@pytest.mark.parametrize(("dtype", "size"), [("fp32", 4), ("bf16", 2)])
def test_a_backbone_in_8_bits_has_as_many_parameters_and_fewer_bytes(
    dtype: str, size: int, tmp_path: Path
) -> None:
    """A byte for each weight of a linear layer, and a scale for each of its rows."""
    recipe = write_recipe(tmp_path, "bert")
    words = [f"backbone.dtype={dtype}", "backbone.quantization=int8"]
    model = build_model(open_shapes(load_recipe(recipe, words)))
    backbone = next(part for part in part_sizes(model) if part.part == "backbone")
    stored = AutoModel.from_pretrained(tmp_path / "backbone")
    whole = sum(p.numel() for p in stored.parameters())
    weights = [layer.weight for layer in linear_layers(stored)]
    saved = sum((size - 1) * one.numel() - size * len(one) for one in weights)
    assert backbone.frozen == whole
    assert backbone.nbytes == size * whole - saved
