"""Decoding with a cache, token for token what a loop without one, or transformers, gives."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PrefixTuningConfig, get_peft_model
from points import sample
from tiny import CAUSAL, load_language_model, write_text_recipe
from torch import Tensor

from ptv2_scale.backbones.glm_classic.generation import fill_blank
from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.sampling import Sampling
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.config import load_recipe
from ptv2_scale.model.decoding import Beams
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import Setup, build_model, first_values, model_filler, open_setup
from ptv2_scale.runtime.errors import UserError

TEXTS = ["w1 w2 w3 w4 w5", "w9", "w20 w21 w22"]
STEPS = 6


def opened(recipe: Path, override: str) -> tuple[Setup, PromptedModel]:
    setup = open_setup(load_recipe(recipe, [override]))
    model = build_model(setup)
    materialise(model, model_filler(setup, model, NamedTensors(first_values(setup))), Unsharded())
    return setup, model.eval()


def likeliest(logits: Tensor) -> int:
    return int(logits.argmax())


def without_cache(
    model: PromptedModel, inputs: dict[str, Tensor], choose: Callable[[Tensor], int] = likeliest
) -> list[int]:
    """Of one text: the whole is read anew for every token."""
    found: list[int] = []
    decodes, positions = model.family.encoder_decoder, inputs.get("position_ids")
    for _ in range(STEPS):
        tail = torch.tensor([found], dtype=torch.long)
        if decodes:
            read = {**inputs, "decoder_input_ids": torch.cat((torch.tensor([[0]]), tail), dim=1)}
        else:
            read = {"input_ids": torch.cat((inputs["input_ids"], tail), dim=1)}
        if positions is not None:  # a piece's tokens are at its mask's place, one block each
            more = [positions[..., -1:] + torch.tensor([[0], [n + 1]]) for n in range(len(found))]
            read["position_ids"] = torch.cat((positions, *more), dim=2)
        with torch.no_grad():
            states = model(**read).features[:, -1]
            found.append(choose(model.head.logits(states)[0]))
    return found


BEAMS = [(kind, penalty) for kind in ("t5", "llama", "gpt2", "gemma2") for penalty in (1.0, -1.5)]
METHODS = ["{method: prefix, length: 5, init_scale: 0.5}", "{method: prompt, length: 5}"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "kind", ["t5", "mt5", "glm_classic", *(kind for kind in CAUSAL if kind != "qwen2")]
)
def test_a_batch_has_the_tokens_of_a_loop(kind: str, method: str, tmp_path: Path) -> None:
    if kind == "mistral" and "prompt," in method:
        pytest.skip("its window of 4 would hide the prompt")
    setup, model = opened(write_text_recipe(tmp_path, kind), f"prompt={method}")
    rows = [{"input": text} for text in TEXTS]
    found = model.generate(None, STEPS, **setup.inputs(rows))
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
    assert model.generate(None, STEPS, **inputs) == [made[0, start:].tolist()]


def drawing(row: int, temperature: float, top_k: int, top_p: float, seed: int) -> Any:
    """Draws by the distribution function, its filters written out."""
    source = random.Random(f"{seed} {row}")

    def choose(logits: Tensor) -> int:
        chances = {n: float(one) for n, one in enumerate((logits.double() / temperature).exp())}
        for keep in (top_k, None):
            ranked = sorted(chances, key=lambda n: -chances[n])
            whole, kept, mass = sum(chances.values()), [], 0.0
            for token in ranked[:keep]:
                if keep is None and mass / whole >= top_p:
                    break
                kept.append(token)
                mass += chances[token]
            chances = {token: chances[token] for token in sorted(kept)}
        left = source.random() * sum(chances.values())
        for token, chance in chances.items():
            left -= chance
            if left < 0:
                return token
        raise AssertionError

    return choose


def test_a_classic_glm_writes_what_it_fills_a_blank_with(tmp_path: Path) -> None:
    setup, model = opened(write_text_recipe(tmp_path, "glm_classic"), f"prompt={METHODS[0]}")
    texts = ["w1 w2 w3 w4 w5", "w9", "w20 [MASK] w21 w22"]
    rows = [{"input": text} for text in texts]
    answers = model.generate(None, STEPS, **setup.inputs(rows))
    # What fills a blank is never one of the embedding's rows without a token.
    assert all(token < len(setup.tokenizer) for answer in answers for token in answer)
    blanks = [text if "MASK" in text else f"{text} [gMASK]" for text in texts]
    found = fill_blank(model, setup.tokenizer, blanks, max_new_tokens=STEPS)
    decode = partial(setup.tokenizer.decode, skip_special_tokens=True)
    assert found == [[decode(answer)] for answer in answers]
    inputs = setup.inputs(rows)
    beams = model.generate(None, STEPS, Beams(3), **inputs)
    assert beams == [model.generate(None, STEPS, Beams(3), **setup.inputs([r]))[0] for r in rows]
    with pytest.raises(UserError, match="fill_blank"):
        model.generate(None, STEPS, input_ids=inputs["input_ids"])


@pytest.mark.parametrize("kind", ["t5", "llama", "gpt2", "gemma2", "glm_classic"])
def test_draws_with_a_cache_are_those_without(kind: str, tmp_path: Path) -> None:
    setup, model = opened(write_text_recipe(tmp_path, kind), f"prompt={METHODS[0]}")
    rows = [{"input": text} for text in TEXTS]
    settings: dict[str, Any] = {"temperature": 1.7, "top_k": 30, "top_p": 0.9, "seed": 3}
    found = model.generate(None, STEPS, Sampling(**settings), **setup.inputs(rows))
    for number, row in enumerate(rows):
        choose = drawing(number, **settings)
        assert found[number] == without_cache(model, setup.inputs([row]), choose)
    assert found != model.generate(None, STEPS, **setup.inputs(rows))


@pytest.mark.parametrize(("kind", "penalty"), sample(BEAMS, 5))
def test_beams_are_transformers_own(kind: str, penalty: float, tmp_path: Path) -> None:
    """Without a method, each text alone; with an end that some beams come to."""
    setup, model = opened(write_text_recipe(tmp_path, kind), "prompt={method: discrete}")
    whole = load_language_model(tmp_path / "backbone")
    rows = [{"input": text} for text in TEXTS]
    end = model.generate(None, STEPS, Beams(3), **setup.inputs(rows))[0][1]
    found = model.generate(end, STEPS, Beams(3, penalty), **setup.inputs(rows))
    for row, answer in zip(rows, found, strict=True):
        inputs = setup.inputs([row])
        beams = {"num_beams": 3, "length_penalty": penalty, "do_sample": False}
        made = whole.generate(**inputs, **beams, max_new_tokens=STEPS, eos_token_id=end)[0].tolist()
        expected = made[1 if kind == "t5" else inputs["input_ids"].shape[1] :]
        assert answer == (expected[: expected.index(end)] if end in expected else expected)
    assert penalty > 0 or any(len(answer) < STEPS for answer in found)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("beams", [1, 3])
def test_a_prefix_writes_what_it_does_in_peft(kind: str, beams: int, tmp_path: Path) -> None:
    """PEFT's PREFIX_TUNING with the same prefix, each text alone."""
    setup, model = opened(write_text_recipe(tmp_path, kind), f"prompt={METHODS[0]}")
    whole = in_peft(load_language_model(tmp_path / "backbone"), model)
    rows = [{"input": text} for text in TEXTS]
    found = model.generate(None, STEPS, Beams(beams), **setup.inputs(rows))
    for row, answer in zip(rows, found, strict=True):
        made = whole.generate(
            **setup.inputs([row]),
            max_new_tokens=STEPS,
            num_beams=beams,
            do_sample=False,
            eos_token_id=None,
        )
        assert answer == made[0, -STEPS:].tolist()


def in_peft(whole: Any, model: PromptedModel) -> Any:
    """A language model with the prefix of ours, as PEFT has it."""
    flat = model.adapter.flat().detach()
    prefixed = get_peft_model(
        whole, PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=len(flat))
    )
    with torch.no_grad():
        prefixed.prompt_encoder["default"].embedding.weight.copy_(flat)
    return prefixed.eval()


@pytest.mark.parametrize("kind", ["t5", "gpt2"])
def test_padding_on_either_side(kind: str, tmp_path: Path) -> None:
    setup, model = opened(write_text_recipe(tmp_path, kind), f"prompt={METHODS[0]}")
    right = setup.inputs([{"input": text} for text in TEXTS])
    order = right["attention_mask"].argsort(dim=1, stable=True)
    left = {name: value.gather(1, order) for name, value in right.items()}
    assert not torch.equal(left["attention_mask"], right["attention_mask"])
    assert model.generate(None, STEPS, **left) == model.generate(None, STEPS, **right)
