"""Which layers a gradient passes, and which of them are computed again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import write_recipe
from torch import Tensor

from ptv2_scale.backbones.attention import checkpointable_layers
from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.config import load_recipe
from ptv2_scale.estimate.layers import apply_checkpointing, layers_with_gradient
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import Setup, build_model, first_values, model_filler, open_setup

CASES: list[tuple[str, list[str]]] = [
    ("llama", []),
    ("llama", ["prompt.layers=[2]"]),
    ("t5", ["prompt.slots=[cross]"]),
    ("bert", ["prompt={method: prompt, length: 4}"]),
]


def opened(folder: Path, kind: str, *words: str) -> Setup:
    train = {"micro_batch": 2, "global_batch": 2}
    return open_setup(load_recipe(write_recipe(folder, kind, train=train), words))


def model_of(setup: Setup) -> PromptedModel:
    model = build_model(setup)
    filler = model_filler(setup, model, NamedTensors(first_values(setup)))
    materialise(model, filler, Unsharded())
    apply_checkpointing(setup, model)
    return model.train()


def gradients(setup: Setup, model: PromptedModel) -> list[Tensor | None]:
    batch = setup.task.collate(setup.split("train").examples[:2], setup.padding)
    torch.manual_seed(3)
    setup.task.loss_sum(model(**batch.arguments).outputs, batch.targets).backward()
    return [parameter.grad for parameter in model.trained().values()]


def watched(setup: Setup) -> tuple[Counter[int], set[int], list[Tensor | None]]:
    """Forward passes inside each layer of a real step, and the layers that a gradient passed."""
    model, runs, passed = model_of(setup), Counter[int](), set[int]()
    for place, layer in enumerate(checkpointable_layers(model.backbone)):
        first = next(iter(layer.children()))
        first.register_forward_hook(lambda *_, place=place: runs.update([place]))

        def watch(module: Any, given: Any, made: Any, place: int = place) -> None:
            states = made[0] if isinstance(made, tuple) else made
            if states.requires_grad:
                states.register_hook(lambda gradient: passed.add(place))

        layer.register_forward_hook(watch)
    return runs, passed, gradients(setup, model)


@pytest.mark.parametrize(("kind", "words"), CASES)
def test_a_number_of_layers_is_computed_again_and_gradients_keep_their_bits(
    kind: str, words: list[str], tmp_path: Path
) -> None:
    setups = {
        layers: opened(tmp_path / layers, kind, *words, f"train.gradient_checkpointing={layers}")
        for layers in ("false", "1", "true")
    }
    plain, passed, expected = watched(setups["false"])
    assert layers_with_gradient(setups["false"]) == sorted(passed)
    once, _, found = watched(setups["1"])
    first = min(passed)
    assert once - plain == Counter({first: plain[first]})
    every, _, also = watched(setups["true"])
    assert every - plain == Counter({place: plain[place] for place in passed})
    for one, other, bits in zip(found, also, expected, strict=True):
        assert bits is None or (torch.equal(one, bits) and torch.equal(other, bits))


def test_more_layers_than_there_are_is_all_of_them(tmp_path: Path) -> None:
    model = model_of(opened(tmp_path, "llama", "train.gradient_checkpointing=99"))
    assert all(layer.gradient_checkpointing for layer in checkpointable_layers(model.backbone))
