"""The prefix encoder: layout, first values, slots and layers, and the room a prefix needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import config_of
from transformers import AutoModel

from ptv2_scale.backbones.families import family_of
from ptv2_scale.backbones.family import attention_modules
from ptv2_scale.config import HeadOnly, Prefix
from ptv2_scale.methods.prefix.encoder import (
    PrefixEncoder,
    PrefixShape,
    initial_values,
    prefix_shape,
    slot_modules,
)
from ptv2_scale.methods.registry import build_method
from ptv2_scale.runtime.errors import UserError

LENGTH, LAYERS, HEADS, WIDTH = 5, 3, 2, 4
SLOTS = tuple(("decoder", layer) for layer in range(LAYERS))
TABLE = PrefixShape(LENGTH, SLOTS, HEADS, WIDTH)
MLP = PrefixShape(LENGTH, SLOTS, HEADS, WIDTH, hidden=7, width=6)


def shape_of(kind: str, max_length: int = 20, config: Any = None, **prompt: Any) -> PrefixShape:
    config = config_of(kind) if config is None else config
    family = family_of(config, "config.json")
    chosen = Prefix.model_validate(prompt)
    build_method(chosen, family, config).check_length(max_length)
    return prefix_shape(chosen, family, config)


def filled(shape: PrefixShape) -> PrefixEncoder:
    torch.manual_seed(0)
    encoder = PrefixEncoder(shape)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_()
    return encoder


@pytest.mark.parametrize("shape", [TABLE, MLP], ids=["table", "mlp"])
def test_keys_and_values_lie_as_in_the_official_code(shape: PrefixShape) -> None:
    encoder = filled(shape)
    values = dict(encoder.named_parameters())
    rows = values["embedding.weight"]
    if shape.hidden is not None:
        inner = torch.tanh(rows @ values["trans.0.weight"].T + values["trans.0.bias"])
        rows = inner @ values["trans.2.weight"].T + values["trans.2.bias"]
    official = rows.view(1, LENGTH, LAYERS * 2, HEADS, WIDTH).permute([2, 0, 3, 1, 4]).split(2)
    found = encoder()
    assert found.shape == (LAYERS, 2, HEADS, LENGTH, WIDTH)
    for layer, (key, value) in enumerate(official):
        torch.testing.assert_close(found[layer, 0], key[0], rtol=0, atol=1e-6)
        torch.testing.assert_close(found[layer, 1], value[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(encoder.flat(), rows, rtol=0, atol=1e-6)


def test_parameters_are_named_and_sized_as_in_the_official_code() -> None:
    row = LAYERS * 2 * HEADS * WIDTH
    sizes = {name: list(value.shape) for name, value in PrefixEncoder(MLP).named_parameters()}
    assert sizes == {
        "embedding.weight": [LENGTH, 6],
        "trans.0.weight": [7, 6],
        "trans.0.bias": [7],
        "trans.2.weight": [row, 7],
        "trans.2.bias": [row],
    }
    (table,) = PrefixEncoder(TABLE).parameters()
    assert list(table.shape) == [LENGTH, row]


@pytest.mark.parametrize("shape", [TABLE, MLP], ids=["table", "mlp"])
def test_first_values_depend_on_the_seed_only(shape: PrefixShape) -> None:
    prompt = Prefix(length=LENGTH)
    torch.manual_seed(1)
    first = initial_values(prompt, shape, seed=11)
    torch.manual_seed(2)
    again, other = initial_values(prompt, shape, seed=11), initial_values(prompt, shape, seed=12)
    assert first.keys() == again.keys() == dict(PrefixEncoder(shape).named_parameters()).keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])
    assert {value.dtype for value in first.values()} == {torch.float32}


@pytest.mark.parametrize("scale", [0.02, 1.5])
def test_random_first_values_have_the_scale_that_was_asked_for(scale: float) -> None:
    shape = PrefixShape(64, SLOTS, 8, 16)
    table = initial_values(Prefix(init_scale=scale), shape, 11)["embedding.weight"]
    assert float(table.std()) == pytest.approx(scale, rel=0.02)
    assert abs(float(table.mean())) < 0.02 * scale


@pytest.mark.parametrize("shape", [TABLE, MLP], ids=["table", "mlp"])
def test_zero_means_a_prefix_of_zeros_that_can_still_learn(shape: PrefixShape) -> None:
    encoder = PrefixEncoder(shape)
    prompt = Prefix.model_validate({"init": "zero", "encoder": "mlp" if shape.hidden else "table"})
    encoder.load_state_dict(initial_values(prompt, shape, 11))
    flat = encoder.flat()
    assert not flat.any()
    (flat * torch.randn_like(flat)).sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in encoder.parameters())


@pytest.mark.parametrize(
    ("layers", "expected"),
    [("all", (0, 1, 2)), ("1-3", (0, 1, 2)), ("2-3", (1, 2)), ([3, 1], (0, 2)), ([2], (1,))],
)
def test_layers_are_chosen_by_number(layers: Any, expected: tuple[int, ...]) -> None:
    shape = shape_of("llama", layers=layers)
    assert shape.slots == tuple(("decoder", layer) for layer in expected)


def test_a_layer_that_is_not_there() -> None:
    with pytest.raises(UserError, match="found layer 4, but the backbone has 3 layers"):
        shape_of("llama", layers="2-9")


T5_SLOTS = {"encoder": 3, "decoder": 2, "cross": 2}


@pytest.mark.parametrize("left_out", [None, *T5_SLOTS])
@pytest.mark.parametrize("kind", ["t5", "mt5"])
def test_slots_of_t5_can_be_left_out_one_by_one(kind: str, left_out: str | None) -> None:
    wanted = [slot for slot in T5_SLOTS if slot != left_out]
    shape = shape_of(kind, slots="all" if left_out is None else wanted)
    expected = [(slot, layer) for slot in wanted for layer in range(T5_SLOTS[slot])]
    assert list(shape.slots) == expected
    assert (shape.kv_heads, shape.head_dim) == (4, 12)
    config = config_of(kind)
    model = AutoModel.from_config(config)
    modules = slot_modules(shape, family_of(config, ""), model, config)
    paths = {
        "encoder": "encoder.block.{}.layer.0.SelfAttention",
        "decoder": "decoder.block.{}.layer.0.SelfAttention",
        "cross": "decoder.block.{}.layer.1.EncDecAttention",
    }
    found = {row: name for name, m in model.named_modules() if (row := modules.get(m)) is not None}
    assert [found[row] for row in range(len(expected))] == [
        paths[slot].format(layer) for slot, layer in expected
    ]


def test_the_order_of_slots_in_a_recipe_does_not_change_the_layout() -> None:
    assert shape_of("t5", slots=["cross", "encoder"]) == shape_of("t5", slots=["encoder", "cross"])


def test_a_slot_that_the_backbone_has_not() -> None:
    with pytest.raises(UserError, match="GLM-4 has no slot 'cross'; it has decoder"):
        shape_of("glm", slots=["decoder", "cross"])


def test_layers_beyond_the_shorter_stack_are_refused() -> None:
    with pytest.raises(UserError, match="the backbone has 2 layers"):
        shape_of("t5", layers=[3])
    assert shape_of("t5", layers=[3], slots=["encoder"]).slots == (("encoder", 2),)


@pytest.mark.parametrize(
    ("kind", "room"), [("bert", 160), ("gpt2", 160), ("opt", 160), ("roberta", 158)]
)
def test_prefix_and_text_must_fit_the_position_table(kind: str, room: int) -> None:
    shape_of(kind, length=100, max_length=room - 100)
    with pytest.raises(UserError) as caught:
        shape_of(kind, length=100, max_length=room - 99)
    message = str(caught.value)
    assert f"100 prefix tokens and {room - 99} text tokens" in message
    assert f"has room for {room}" in message
    ways = f"Lower task.max_length to {room - 100}, or lower prompt.length to 99, or set"
    assert f"{ways} prompt.positions: keep." in message


@pytest.mark.parametrize("kind", ["bert", "gpt2", "opt", "roberta"])
def test_the_room_is_what_the_model_really_has(kind: str) -> None:
    """One token more than `position_room` says, and the model itself fails."""
    config = config_of(kind)
    family = family_of(config, "")
    model = AutoModel.from_config(config).eval()
    room = family.position_room(config)
    assert room is not None

    def run(tokens: int) -> None:
        mask = torch.ones(1, tokens, dtype=torch.int64)
        extra = {"token_type_ids": torch.zeros_like(mask)} if kind == "bert" else {}
        positions = family.position_ids(mask, 0, config)
        with torch.no_grad():
            model(mask + 5, attention_mask=mask, position_ids=positions, **extra)

    run(room)
    with pytest.raises((IndexError, RuntimeError)):
        run(room + 1)


def test_kept_positions_leave_the_table_to_the_text() -> None:
    shape_of("bert", length=100, max_length=160, positions="keep")
    with pytest.raises(UserError, match="161 text tokens are longer") as caught:
        shape_of("bert", length=100, max_length=161, positions="keep")
    assert str(caught.value).endswith("Lower task.max_length to 160.")


def test_the_advice_can_be_followed() -> None:
    with pytest.raises(UserError, match="Lower prompt.length to 140, or set prompt.positions"):
        shape_of("bert", length=200, max_length=20)
    with pytest.raises(UserError, match="Lower both prompt.length and task.max_length"):
        shape_of("bert", length=200, max_length=200)


def test_a_head_alone_needs_room_for_the_text() -> None:
    config = config_of("bert")
    method = build_method(HeadOnly(method="none"), family_of(config, ""), config)
    method.check_length(160)
    with pytest.raises(UserError, match="Lower task.max_length to 160"):
        method.check_length(161)


@pytest.mark.parametrize("kind", ["llama", "glm", "t5", "gpt_neox"])
def test_rotary_and_relative_positions_have_no_table(kind: str) -> None:
    assert shape_of(kind, length=500, max_length=4000).length == 500


def test_slot_modules_are_the_attention_modules(tmp_path: Path) -> None:
    config = config_of("qwen3")
    family = family_of(config, "")
    model = AutoModel.from_config(config)
    shape = shape_of("qwen3", layers=[1, 3])
    modules = slot_modules(shape, family, model, config)
    assert modules == {model.layers[0].self_attn: 0, model.layers[2].self_attn: 1}
    assert [layer for _, layer, _ in attention_modules(family, model, config)] == [0, 1, 2]
