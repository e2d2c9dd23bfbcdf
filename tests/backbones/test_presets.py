"""Shapes of the hub's models, against their published parameter counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ptv2_scale.backbones.hub_shapes import HUB_SHAPES
from ptv2_scale.backbones.load import build_empty
from ptv2_scale.backbones.presets import has_known_shape, open_shape, shape_notes

# Of the model without a head over the vocabulary, which is counted where it is a tensor of its own.
PUBLISHED = {
    "google-bert/bert-large-cased": 333_579_264,
    "google-bert/bert-large-uncased": 335_141_888,
    "FacebookAI/roberta-large": 355_359_744,
    "google/t5-v1_1-xl": 2_849_757_184 - 32128 * 2048,
    "google-t5/t5-11b": 11_307_321_344,
    "THUDM/glm-10b": 9_880_682_496,
    "meta-llama/Llama-3.1-8B": 8_030_261_248 - 128256 * 4096,
    "Qwen/Qwen3-8B": 8_190_735_360 - 151936 * 4096,
    "THUDM/glm-4-9b-hf": 9_399_951_360 - 151552 * 4096,
}
# Published in words alone.
MILLIONS = {"microsoft/deberta-xlarge": 750, "THUDM/glm-2b": 1920}


def parameters(name: str) -> int:
    model = build_empty(open_shape(name), torch.bfloat16)
    assert all(one.is_meta for one in model.parameters())
    return sum(one.numel() for one in model.parameters())


@pytest.mark.parametrize("name", HUB_SHAPES)
def test_a_shape_has_as_many_parameters_as_the_model(name: str) -> None:
    if name in PUBLISHED:
        assert parameters(name) == PUBLISHED[name]
    else:
        assert parameters(name) == pytest.approx(MILLIONS[name] * 1e6, rel=0.02)


def test_a_folder_comes_before_a_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "THUDM/glm-10b"
    assert has_known_shape(name)
    (tmp_path / name).mkdir(parents=True)
    assert not has_known_shape(name)
    assert shape_notes(name) == []
