"""Prefixes of several models in one forward pass, against a pass of each row alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from points import sample
from tiny import batch_of, save_backbone

from ptv2_scale.backbones.attention import BoundPrefix
from ptv2_scale.backbones.binding import bind
from ptv2_scale.backbones.family import Family, attention_modules
from ptv2_scale.backbones.load import load_backbone, open_backbone
from ptv2_scale.backbones.mixed_prefix import mix_prefixes

KINDS = ("t5", "llama", "gpt2", "gemma2", "gemma3_text", "bert")
CASES = [(kind, padding) for kind in KINDS for padding in ("none", "left", "right")]
OWNERS = [1, 2, 0, 1]


def random_prefix(family: Family, backbone: Any, length: int) -> BoundPrefix:
    modules = attention_modules(family, backbone, backbone.config)
    shape = (len(modules), 2, family.kv_heads(backbone.config), length)
    generator = torch.Generator().manual_seed(length)
    values = torch.randn(*shape, family.head_dim(backbone.config), generator=generator)
    return BoundPrefix(values, {module: row for row, (_, _, module) in enumerate(modules)})


def without_first(prefix: BoundPrefix) -> BoundPrefix:
    """The same prefix in all attention modules but the first."""
    slots = dict(list(prefix.slots.items())[1:])
    return replace(prefix, slots=slots)


@pytest.mark.parametrize(("kind", "padding"), sample(CASES, 8))
def test_a_row_sees_its_own_prefix_alone(kind: str, padding: str, tmp_path: Path) -> None:
    family = open_backbone(str(save_backbone(kind, tmp_path))).family
    backbone = load_backbone(tmp_path)
    prefixes = [random_prefix(family, backbone, length) for length in (5, 2, 9)]
    prefixes[2] = without_first(prefixes[2])
    three = batch_of(padding)
    batch = {name: torch.cat((value, value[1:2])) for name, value in three.items()}
    batch["position_ids"] = family.position_ids(batch["attention_mask"], 9, backbone.config)
    if kind == "t5":
        batch["decoder_input_ids"] = batch["input_ids"][:, :4]
    batch = {name: value for name, value in batch.items() if value is not None}
    mixed = mix_prefixes([(one.keys_values, one.slots) for one in prefixes], torch.tensor(OWNERS))
    with torch.no_grad(), bind(mixed):
        found = backbone(**batch).last_hidden_state
    for row, owner in enumerate(OWNERS):
        own = {name: value[row : row + 1] for name, value in batch.items()}
        with torch.no_grad(), bind(prefixes[owner]):
            expected = backbone(**own).last_hidden_state[0]
        seen = torch.ones(len(expected), dtype=torch.bool)
        if kind != "t5":
            seen = own["attention_mask"][0].bool()
        torch.testing.assert_close(found[row][seen], expected[seen], rtol=1e-4, atol=1e-5)
