"""Greedy decoding with a cache, token for token what a loop without one gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import CAUSAL, load_language_model, write_text_recipe
from torch import Tensor

from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.config import load_recipe
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import Setup, build_model, first_values, model_filler, open_setup

TEXTS = ["w1 w2 w3 w4 w5", "w9", "w20 w21 w22"]
STEPS = 6


def opened(recipe: Path, override: str) -> tuple[Setup, PromptedModel]:
    setup = open_setup(load_recipe(recipe, [override]))
    model = build_model(setup)
    materialise(model, model_filler(setup, model, NamedTensors(first_values(setup))), Unsharded())
    return setup, model.eval()


def without_cache(model: PromptedModel, inputs: dict[str, Tensor]) -> list[int]:
    """Of one text: the whole is read anew for every token."""
    found: list[int] = []
    decodes = model.family.encoder_decoder
    for _ in range(STEPS):
        tail = torch.tensor([found], dtype=torch.long)
        if decodes:
            read = {**inputs, "decoder_input_ids": torch.cat((torch.tensor([[0]]), tail), dim=1)}
        else:
            read = {"input_ids": torch.cat((inputs["input_ids"], tail), dim=1)}
        with torch.no_grad():
            states = model(**read).features[:, -1]
            found.append(int(model.head.logits(states).argmax()))
    return found


METHODS = ["{method: prefix, length: 5, init_scale: 0.5}", "{method: prompt, length: 5}"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["t5", "mt5", *(kind for kind in CAUSAL if kind != "qwen2")])
def test_a_batch_has_the_tokens_of_a_loop(kind: str, method: str, tmp_path: Path) -> None:
    if kind == "mistral" and "prompt," in method:
        pytest.skip("its window of 4 would hide the prompt")
    setup, model = opened(write_text_recipe(tmp_path, kind), f"prompt={method}")
    rows = [{"input": text} for text in TEXTS]
    found = model.generate(-1, STEPS, **setup.inputs(rows))
    expected = [without_cache(model, setup.inputs([row])) for row in rows]
    assert found == expected
    end = expected[0][2]
    ended = model.generate(end, STEPS, **setup.inputs(rows))
    assert ended == [row[: row.index(end)] if end in row else row for row in expected]


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_without_a_method_it_is_transformers_own(kind: str, tmp_path: Path) -> None:
    setup, model = opened(write_text_recipe(tmp_path, kind), "prompt={method: discrete}")
    inputs = setup.inputs([{"input": TEXTS[0]}])
    made = load_language_model(tmp_path / "backbone").generate(
        **inputs, max_new_tokens=STEPS, do_sample=False, eos_token_id=None
    )
    start = 1 if kind == "t5" else inputs["input_ids"].shape[1]
    assert model.generate(-1, STEPS, **inputs) == [made[0, start:].tolist()]
