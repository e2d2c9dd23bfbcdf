"""Classic GLM against golden tensors and against its arithmetic written out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import published_glm
import pytest
import torch
from fake_setup import fake_setup
from safetensors.torch import load_file
from tiny import batch_of, save_backbone
from torch import Tensor, nn
from transformers import DynamicCache

from ptv2_scale import load_backbone
from ptv2_scale.backbones.attention import BoundPrefix
from ptv2_scale.backbones.binding import bind
from ptv2_scale.backbones.families.glm_classic import GLM_CLASSIC
from ptv2_scale.backbones.family import attention_modules
from ptv2_scale.backbones.glm_classic.model import eager_attention
from ptv2_scale.backbones.load import (
    Unsharded,
    build_empty,
    materialise,
    open_backbone,
    weight_filler,
)
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.config import Prefix as PrefixConfig
from ptv2_scale.methods.base import Entry
from ptv2_scale.methods.registry import build_method
from ptv2_scale.model.setup import build_model, first_values, model_filler
from ptv2_scale.runtime.errors import UserError

LENGTH = 9


def largest(difference: Tensor) -> float:
    return float(difference.abs().max())


@pytest.mark.parametrize("implementation", ["ptv2_prefix", "sdpa", "eager"])
def test_golden_tensors(implementation: str, material: Path) -> None:
    folder = material / "golden" / "glm_classic"
    golden = load_file(folder / "golden.safetensors")
    model = load_backbone(str(folder))
    model.set_attn_implementation(implementation)
    with torch.no_grad():
        found = model(
            golden["input_ids"],
            position_ids=golden["position_ids"],
            attention_mask=golden["sep"],
        )
        plain = model(golden["plain_input_ids"])
    assert largest(found.last_hidden_state - golden["last_hidden_state"]) <= 1e-5
    assert largest(found.logits - golden["logits"]) <= 1e-5
    assert largest(plain.last_hidden_state - golden["plain_last_hidden_state"]) <= 1e-5


def texts() -> tuple[Tensor, Tensor]:
    """input_ids [3, 9] and position_ids [3, 2, 9] that look like texts with pieces."""
    generator = torch.Generator().manual_seed(4)
    input_ids = torch.randint(91, (3, LENGTH), generator=generator)
    return input_ids, torch.randint(21, (3, 2, LENGTH), generator=generator)


def separated(separators: list[int]) -> Tensor:
    rows = []
    for separator in separators:
        visible = torch.ones(LENGTH, LENGTH).tril()
        visible[:, :separator] = 1
        rows.append(visible[None])
    return torch.stack(rows)


def full_mask() -> Tensor:
    mask = torch.bernoulli(torch.full((3, 1, LENGTH, LENGTH), 0.5), generator=torch.manual_seed(2))
    mask[1, :, 4] = 0  # a row that sees nothing: every key then weighs the same
    mask[2, :, :, 3] = 0
    return mask


PADDED = torch.tensor([[1] * 9, [0] * 4 + [1] * 5, [1] * 3 + [0] * 6])
MASKS: dict[str, tuple[Tensor | None, Tensor]] = {
    "none": (None, torch.ones(1, 1, 1, LENGTH)),
    "separators": (torch.tensor([0, 4, 9]), separated([0, 4, 9])),
    "column of separators": (torch.tensor([[1], [0], [5]]), separated([1, 0, 5])),
    "one separator": (torch.tensor(3), separated([3])),
    "padding": (PADDED, PADDED[:, None, None]),
    "padding, wider": (torch.cat((1 - PADDED[:, :2], PADDED), 1), PADDED[:, None, None]),
    "full": (full_mask(), full_mask()),
    "full of integers": (full_mask().long(), full_mask()),
    "full, wider": (torch.cat((torch.zeros(3, 1, LENGTH, 2), full_mask()), -1), full_mask()),
}


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("scale", [0.5, 1.0, 8.0])
def test_equals_the_published_arithmetic(kind: str, scale: float, tmp_path: Path) -> None:
    given, written_out = MASKS[kind]
    input_ids, position_ids = texts()
    hidden, logits = published_glm.forward(
        published_glm.config(attention_scale=scale), input_ids, position_ids, written_out
    )
    model = load_backbone(str(published_glm.save(tmp_path, attention_scale=scale)))
    for implementation in ("ptv2_prefix", "sdpa", "eager"):
        model.set_attn_implementation(implementation)
        with torch.no_grad():
            found = model(input_ids, position_ids, given)
        assert largest(found.last_hidden_state - hidden) <= 1e-5
        assert largest(found.logits - logits) <= 1e-5 * max(1.0, largest(logits))


def test_a_wholly_masked_row_is_uniform_in_bf16_too(tmp_path: Path) -> None:
    model = load_backbone(str(published_glm.save(tmp_path)), dtype="bf16")
    module = model.transformer.layers[0].attention
    states = torch.randn(1, 4, 30, dtype=torch.bfloat16) * 5
    seen: list[Tensor] = []
    module.dense.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    module(states, torch.full((1, 1, 1, 4), -1e30, dtype=torch.bfloat16), None)
    value = module.query_key_value(states)[..., 60:]
    torch.testing.assert_close(seen[0], value.mean(1, keepdim=True).expand(-1, 4, -1))


@pytest.mark.parametrize("form", ["gelu", "gelu_pytorch_tanh"])
def test_both_forms_of_gelu(form: str, tmp_path: Path) -> None:
    input_ids, position_ids = texts()
    mask = torch.ones(1, 1, 1, LENGTH)
    settings = published_glm.config(hidden_act=form)
    hidden, _ = published_glm.forward(settings, input_ids, position_ids, mask)
    model = load_backbone(str(published_glm.save(tmp_path, hidden_act=form)))
    assert largest(model(input_ids, position_ids).last_hidden_state - hidden) <= 1e-5


@pytest.mark.parametrize("shape", [(4,), (3, 8), (2, 9), (3, 1, 8, 9), (3, 9, 9), (3, 1, 9, 8)])
def test_a_mask_that_does_not_fit(shape: tuple[int, ...], tmp_path: Path) -> None:
    model = load_backbone(str(published_glm.save(tmp_path)))
    with pytest.raises(UserError, match=r"Allowed: a separator \[3\], a padding mask \[3, 9\]"):
        model(texts()[0], attention_mask=torch.ones(shape))


@pytest.mark.parametrize("mask", ["none", "separator", "full"])
def test_a_cache_changes_nothing(mask: str, tmp_path: Path) -> None:
    model = load_backbone(str(published_glm.save(tmp_path)))
    input_ids, position_ids = texts()
    full = separated([5]).expand(3, 1, LENGTH, LENGTH)
    masks: tuple[Any, Any] = {
        # Five tokens that see each other, then four that see them and are causal.
        "none": (None, torch.tensor(0)),
        "separator": (torch.tensor([5, 5, 5]), torch.tensor([0, 0, 0])),
        "full": (full[..., :5, :5], full[..., 5:, :]),
    }[mask]
    cache = DynamicCache()
    with torch.no_grad():
        whole = model(input_ids, position_ids, torch.tensor(5)).last_hidden_state
        model(input_ids[:, :5], position_ids[..., :5], masks[0], past_key_values=cache)
        rest = model(input_ids[:, 5:], position_ids[..., 5:], masks[1], past_key_values=cache)
    assert rest.past_key_values.get_seq_length() == LENGTH
    torch.testing.assert_close(rest.last_hidden_state, whole[:, 5:], rtol=0, atol=2e-6)


def test_positions_count_on_from_the_cache(tmp_path: Path) -> None:
    model = load_backbone(str(published_glm.save(tmp_path)))
    input_ids, _ = texts()
    cache = DynamicCache()
    with torch.no_grad():
        whole = model(input_ids, attention_mask=torch.tensor(5)).last_hidden_state
        model(input_ids[:, :5], past_key_values=cache)
        rest = model(input_ids[:, 5:], attention_mask=torch.tensor(0), past_key_values=cache)
    torch.testing.assert_close(rest.last_hidden_state, whole[:, 5:], rtol=0, atol=2e-6)


@pytest.mark.parametrize("padding", ["right", "left"])
def test_padding_on_either_side_changes_no_text(padding: str, tmp_path: Path) -> None:
    model = load_backbone(str(save_backbone("glm_classic", tmp_path)))
    batch = batch_of(padding)
    positions = GLM_CLASSIC.position_ids(batch["attention_mask"], 100, model.config)
    assert positions is not None
    together = model(**batch, position_ids=positions).last_hidden_state
    for row, real in enumerate(batch["attention_mask"].bool()):
        assert positions[row, 0][real].tolist() == list(range(int(real.sum())))
        assert positions[row, 0][~real].eq(0).all()
        assert positions[row, 1].eq(0).all()
        alone = model(batch["input_ids"][row, real][None]).last_hidden_state[0]
        torch.testing.assert_close(together[row, real], alone, rtol=0, atol=2e-5)


def test_prefix_and_text_may_exceed_the_table_that_the_text_fills(tmp_path: Path) -> None:
    """A text as long as the table, behind a prefix five times as long, against matmuls."""
    config = published_glm.config(num_layers=1)
    model = load_backbone(str(published_glm.save(tmp_path, num_layers=1)))
    build_method(PrefixConfig(length=100), GLM_CLASSIC, model.config).check_length(20)
    with pytest.raises(UserError, match="room for 20. Lower task.max_length to 20"):
        build_method(PrefixConfig(length=1), GLM_CLASSIC, model.config).check_length(21)
    with pytest.raises(UserError, match="21 tokens are longer than this model's 20 positions"):
        model(torch.ones(1, 21, dtype=torch.long))
    input_ids = torch.arange(20)[None]
    values = torch.randn(1, 2, 5, 100, 6, generator=torch.manual_seed(1))
    ((_, _, module),) = attention_modules(GLM_CLASSIC, model, model.config)
    seen: dict[str, Tensor] = {}
    module.query_key_value.register_forward_hook(lambda _, __, out: seen.update(thirds=out[0]))
    module.dense.register_forward_pre_hook(lambda _, given: seen.update(mixed=given[0][0]))
    with torch.no_grad(), bind(BoundPrefix(values, {module: 0})):
        model(input_ids)
    query, key, value = (x.view(20, 5, 6).transpose(0, 1) for x in seen["thirds"].chunk(3, -1))
    keys, own = (torch.cat((p, x), 1) for p, x in zip(values[0], (key, value), strict=True))
    expected = (query @ keys.transpose(1, 2) / 6**0.5).softmax(-1) @ own
    torch.testing.assert_close(seen["mixed"], expected.transpose(0, 1).reshape(20, 30))
    assert config["max_sequence_length"] == 20


def test_a_head_reads_cls_as_published(tmp_path: Path) -> None:
    """`pool_token: cls` of the published config.json: the state of a text's first token."""
    folder = published_glm.save(tmp_path)
    setup = fake_setup(folder)
    model = build_model(setup)
    materialise(model, model_filler(setup, model, NamedTensors(first_values(setup))), Unsharded())
    input_ids, _ = texts()
    counted = torch.tensor([[*range(9)], [0] * 4 + [*range(5)], [*range(3)] + [0] * 6])
    positions = torch.stack((counted, torch.zeros_like(counted)), dim=1)
    hidden, _ = published_glm.forward(
        published_glm.CONFIG, input_ids, positions, PADDED[:, None, None]
    )
    with torch.no_grad():
        found = model.eval()(entry=None, input_ids=input_ids, attention_mask=PADDED)
    assert largest(found.features - hidden[torch.arange(3), [0, 4, 0]]) <= 1e-5


# Configuration key -> what a dropout of everything leaves at zero.
DROPPED = {
    "embedding_dropout_prob": {"embeddings"},
    "attention_dropout_prob": {"mixed values"},
    "output_dropout_prob": {"attention", "mlp"},
}


def zeroed(model: Any) -> set[str]:
    """Where a forward pass has nothing but zeros, in all layers."""
    zeros: dict[str, list[bool]] = {}

    def look(place: str) -> Callable[..., None]:
        # Hooks give (module, inputs) or (module, inputs, output); the states come first.
        return lambda _, *seen: zeros.setdefault(place, []).append(not seen[-1][0].any())

    hooks = [model.transformer.layers[0].register_forward_pre_hook(look("embeddings"))]
    for layer in model.transformer.layers:
        hooks.append(layer.attention.dense.register_forward_pre_hook(look("mixed values")))
        hooks.append(layer.attention.register_forward_hook(look("attention")))
        hooks.append(layer.mlp.register_forward_hook(look("mlp")))
    model(texts()[0])
    for hook in hooks:
        hook.remove()
    assert all(len(set(layers)) == 1 for layers in zeros.values())
    return {place for place, layers in zeros.items() if layers[0]}


@pytest.mark.parametrize("implementation", ["ptv2_prefix", "sdpa", "eager"])
def test_each_dropout_acts_at_its_own_place(implementation: str, tmp_path: Path) -> None:
    off = dict.fromkeys(DROPPED, 0.0)
    for key, places in DROPPED.items():
        model = load_backbone(str(published_glm.save(tmp_path, **{**off, key: 1.0})))
        model.set_attn_implementation(implementation)
        assert zeroed(model) == set()
        assert zeroed(model.train()) == places
    files = open_backbone(str(published_glm.save(tmp_path, **off)))
    model = build_empty(files, torch.float32, dropout=1.0)  # more than a recipe may ask for
    materialise(model, weight_filler(files, model), Unsharded())
    assert zeroed(model.train()) == set().union(*DROPPED.values())


def test_eager_attention_in_bf16_has_an_fp32_softmax() -> None:
    """In the gradient of the scores: on a CPU the weights come out the same with a bf16 softmax."""
    generator = torch.Generator().manual_seed(6)
    scores, upstream = torch.randn(2, 1, 4, 64, 64, generator=generator).mul(3).bfloat16()
    scores.requires_grad_()
    nothing, one_each = torch.zeros(1, 4, 64, 64), torch.eye(64).expand(1, 4, 64, 64)
    mixed, weights = eager_attention(
        nn.Identity(), *(x.bfloat16() for x in (nothing, nothing, one_each)), scores, scaling=1.0
    )
    mixed.transpose(1, 2).backward(upstream)
    exact = scores.detach().double().requires_grad_()
    exact.softmax(-1).backward(upstream.double())
    assert mixed.dtype == weights.dtype == torch.bfloat16
    torch.testing.assert_close(weights.double(), exact.softmax(-1), rtol=2**-7, atol=1e-12)
    torch.testing.assert_close(scores.grad.double(), exact.grad, rtol=2**-7, atol=1e-6)


def test_a_head_does_not_pay_for_the_vocabulary(tmp_path: Path) -> None:
    model = load_backbone(str(published_glm.save(tmp_path)))
    assert model(texts()[0]).logits is not None
    prompted = build_model(fake_setup(tmp_path, prompt={"length": 5}))
    batch = batch_of("right", vocab=91)
    inputs = prompted.backbone_inputs(Entry(), batch).inputs
    assert inputs["position_ids"].shape == (3, 2, 9)
    assert model(**inputs).logits is None


def test_embeddings_in_place_of_ids_are_the_same_text(tmp_path: Path) -> None:
    model = load_backbone(str(save_backbone("glm_classic", tmp_path)))
    batch = batch_of("right")
    ids = batch.pop("input_ids")
    embeds = model.word_embeddings(ids)
    with torch.no_grad():
        expected = model(input_ids=ids, **batch).last_hidden_state
        assert torch.equal(model(inputs_embeds=embeds, **batch).last_hidden_state, expected)
        for wrong in ({}, {"input_ids": ids, "inputs_embeds": embeds}):
            with pytest.raises(UserError, match="give one of the two"):
                model(**wrong, **batch)
