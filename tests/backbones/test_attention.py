"""The prefix in attention, against transformers' own routes and against attention written out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import CAUSAL, MODEL_TYPES, batch_of, save_backbone
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, AutoModel, DynamicCache
from transformers.masking_utils import sdpa_mask

from ptv2_scale.backbones.attention import BoundPrefix, enable_checkpointing, prefix_attention
from ptv2_scale.backbones.binding import bind
from ptv2_scale.backbones.family import Family, attention_modules
from ptv2_scale.backbones.load import load_backbone, open_backbone

LENGTH = 5
T5_KINDS = ("t5", "mt5")
DISENTANGLED = ("deberta", "deberta-v2")
EAGER = ("gemma2", *DISENTANGLED)  # what transformers has no sdpa for
WINDOW = 4  # of the tiny backbones that have one, shorter than the texts
WINDOWED = ("mistral", "gemma2", "gemma3_text")
CACHED = ("bert", "roberta", "xlm-roberta", "electra", "glm_classic")


def inputs_of(kind: str, padding: str) -> dict[str, Tensor]:
    batch = batch_of(padding)
    if kind in T5_KINDS:
        batch["decoder_input_ids"] = batch["input_ids"][:, :4]
    return batch


def random_prefix(
    family: Family, backbone: Any, length: int = LENGTH, seed: int = 0
) -> BoundPrefix:
    modules = attention_modules(family, backbone, backbone.config)
    shape = (len(modules), 2, family.kv_heads(backbone.config), length)
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(*shape, family.head_dim(backbone.config), generator=generator)
    return BoundPrefix(values, {module: row for row, (_, _, module) in enumerate(modules)})


def run(backbone: Any, family: Family, prefix: BoundPrefix, batch: dict[str, Tensor]) -> Tensor:
    length = prefix.keys_values.shape[3]
    positions = family.position_ids(batch["attention_mask"], length, backbone.config)
    extra = {} if positions is None else {"position_ids": positions}
    with bind(prefix):
        return backbone(**batch, **extra).last_hidden_state


def transformers_own(kind: str, folder: Path) -> Any:
    implementation = "eager" if kind in EAGER else "sdpa"
    return AutoModel.from_pretrained(folder, attn_implementation=implementation).eval()


@pytest.mark.parametrize("padding", ["none", "right", "left"])
@pytest.mark.parametrize("kind", [kind for kind in MODEL_TYPES if kind not in DISENTANGLED])
def test_without_prefix_is_transformers_own_model(
    kind: str, padding: str, folders: Callable[[str], Path]
) -> None:
    reference = transformers_own(kind, folders(kind))
    batch = inputs_of(kind, padding)
    with torch.no_grad():
        expected = reference(**batch).last_hidden_state
        found = load_backbone(str(folders(kind)))(**batch).last_hidden_state
    assert torch.equal(found, expected)


@pytest.mark.parametrize("padding", ["no mask", "none", "right", "left"])
@pytest.mark.parametrize("kind", [*(kind for kind in CAUSAL if kind not in WINDOWED), *CACHED])
def test_equals_the_cache_route_of_transformers(
    kind: str, padding: str, folders: Callable[[str], Path]
) -> None:
    reference = transformers_own(kind, folders(kind))
    backbone = load_backbone(str(folders(kind)))
    family = open_backbone(str(folders(kind))).family
    prefix = random_prefix(family, backbone)
    batch = batch_of("none" if padding == "no mask" else padding)
    positions = family.position_ids(batch["attention_mask"], LENGTH, backbone.config)
    cache = DynamicCache()
    for row, (key, value) in enumerate(prefix.keys_values):
        cache.update(key.expand(3, -1, -1, -1).clone(), value.expand(3, -1, -1, -1).clone(), row)
    mask = torch.cat((torch.ones(3, LENGTH, dtype=torch.long), batch["attention_mask"]), dim=1)
    own = {} if padding == "no mask" else {"attention_mask": batch["attention_mask"]}
    with torch.no_grad():
        expected = reference(
            input_ids=batch["input_ids"],
            attention_mask=mask,
            past_key_values=cache,
            position_ids=positions,
        ).last_hidden_state
        with bind(prefix):
            found = backbone(
                input_ids=batch["input_ids"], position_ids=positions, **own
            ).last_hidden_state
    real = batch["attention_mask"].bool()
    assert (found - expected)[real].abs().max() <= 2e-6 * expected[real].abs().max()


SLIDING: dict[str, dict[str, Any]] = {
    "mistral": {},
    "gemma2": {},
    "gemma3_text": {},
    "qwen2": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    "phi3": {"sliding_window": WINDOW},
}


def masks_made_by_hand(kind: str, real: Tensor) -> Any:
    """Additive masks of a text behind a prefix that every query sees, for eager attention."""
    steps = torch.arange(real.shape[1])
    distance = steps[:, None] - steps
    masks = {}
    for name, window in (("full_attention", 99), ("sliding_attention", WINDOW)):
        own = ((distance >= 0) & (distance < window)) & real.bool()[:, None, None, :]
        visible = torch.cat((torch.ones_like(own[..., :LENGTH]), own), dim=-1)
        masks[name] = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo().min)
    return masks["sliding_attention"] if kind in ("mistral", "phi3") else masks


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("padding", ["none", "right", "left"])
@pytest.mark.parametrize("kind", SLIDING)
def test_a_window_and_a_soft_cap_leave_the_prefix_visible(
    kind: str, padding: str, checkpointing: bool, tmp_path: Path
) -> None:
    """Outputs and gradients, against transformers' eager attention on masks made by hand."""
    folder = save_backbone(kind, tmp_path, **SLIDING[kind])
    reference = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    backbone, family = load_backbone(str(folder)), open_backbone(str(folder)).family
    if checkpointing:
        enable_checkpointing(backbone.train())
    prefix, batch = random_prefix(family, backbone), batch_of(padding)
    real = batch["attention_mask"].bool()
    positions = family.position_ids(batch["attention_mask"], LENGTH, backbone.config)
    weights = torch.linspace(-1, 1, 32)

    theirs = prefix.keys_values.clone().requires_grad_()
    cache = DynamicCache()
    for row, (key, value) in enumerate(theirs):
        cache.update(key.expand(3, -1, -1, -1), value.expand(3, -1, -1, -1), row)
    expected = reference(
        input_ids=batch["input_ids"],
        attention_mask=masks_made_by_hand(kind, batch["attention_mask"]),
        past_key_values=cache,
        position_ids=positions,
    ).last_hidden_state[real]
    (expected @ weights).sum().backward()

    ours = prefix.keys_values.clone().requires_grad_()
    found = run(backbone, family, BoundPrefix(ours, prefix.slots), batch)[real]
    (found @ weights).sum().backward()
    assert (found - expected).abs().max() <= 5e-6 * expected.abs().max()
    assert ours.grad is not None
    assert theirs.grad is not None
    assert (ours.grad - theirs.grad).abs().max() <= 1e-5 * theirs.grad.abs().max()
    assert bool((ours.grad.flatten(1).norm(dim=1) > 0).all())


def blackboard(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    scaling: float,
    prefix: BoundPrefix,
    real: Tensor,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention with a prefix from the padding alone: whatever mask was made is not looked at."""
    steps = torch.arange(real.shape[1])
    visible = real.bool()[:, None, None, :].expand(-1, 1, len(steps), -1)
    if getattr(module, "sliding_window", None) is not None:
        # The tiny ModernBERT's local attention of 6: 3 to each side.
        visible = visible & ((steps[:, None] - steps).abs() <= 3)
    own = (query @ key.transpose(2, 3) * scaling).masked_fill(~visible, float("-inf"))
    keys, values = prefix.keys_values[prefix.slots[module]]
    weights = torch.cat((query @ keys.transpose(1, 2) * scaling, own), dim=-1).softmax(dim=-1)
    mixed = weights[..., :LENGTH] @ values + weights[..., LENGTH:] @ value
    return mixed.transpose(1, 2).contiguous(), None


@pytest.mark.parametrize("padding", ["none", "right", "left"])
@pytest.mark.parametrize("kind", ["modernbert", "distilbert"])
def test_encoders_without_a_cache_equal_attention_written_out(
    kind: str, padding: str, folders: Callable[[str], Path]
) -> None:
    backbone, family = load_backbone(str(folders(kind))), open_backbone(str(folders(kind))).family
    prefix, batch = random_prefix(family, backbone), batch_of(padding)
    slots: dict[Any, int] = {}

    def attention(*arguments: Any, **options: Any) -> tuple[Tensor, None]:
        bound = BoundPrefix(prefix.keys_values, slots)
        return blackboard(*arguments, prefix=bound, real=batch["attention_mask"], **options)

    AttentionInterface.register("blackboard", attention)
    reference = AutoModel.from_pretrained(folders(kind), attn_implementation="blackboard").eval()
    modules = attention_modules(family, reference, reference.config)
    slots.update({module: row for row, (_, _, module) in enumerate(modules)})
    real = batch["attention_mask"].bool()
    positions = family.position_ids(batch["attention_mask"], LENGTH, backbone.config)
    with torch.no_grad():
        expected = reference(**batch, position_ids=positions).last_hidden_state[real]
        found = run(backbone, family, prefix, batch)[real]
    assert (found - expected).abs().max() <= 5e-6 * expected.abs().max()


def written_out(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    position_bias: Tensor,
    prefix: BoundPrefix,
    **_: Any,
) -> tuple[Tensor, None]:
    """T5's attention with a prefix, as one would write it on a blackboard."""
    own = query @ key.transpose(2, 3) * scaling + position_bias
    if attention_mask is not None:
        own = own.masked_fill(~attention_mask, float("-inf"))
    keys, values = prefix.keys_values[prefix.slots[module]]
    front = query @ keys.transpose(1, 2) * scaling
    weights = torch.cat((front, own), dim=-1).softmax(dim=-1)
    mixed = weights[..., : keys.shape[1]] @ values + weights[..., keys.shape[1] :] @ value
    return mixed.transpose(1, 2).contiguous(), None


@pytest.mark.parametrize("padding", ["none", "right", "left"])
@pytest.mark.parametrize("kind", T5_KINDS)
def test_t5_equals_attention_written_out_in_all_its_slots(
    kind: str, padding: str, folders: Callable[[str], Path]
) -> None:
    backbone = load_backbone(str(folders(kind)))
    assert backbone.config.num_heads * backbone.config.d_kv != backbone.config.d_model
    family = open_backbone(str(folders(kind))).family
    prefix = random_prefix(family, backbone, length=100)
    slots: dict[Any, int] = {}

    def attention(*arguments: Any, **options: Any) -> tuple[Tensor, None]:
        return written_out(*arguments, prefix=BoundPrefix(prefix.keys_values, slots), **options)

    AttentionInterface.register("written_out_sdpa", attention)
    AttentionMaskInterface.register("written_out_sdpa", sdpa_mask_always)
    reference = AutoModel.from_pretrained(folders(kind), attn_implementation="written_out_sdpa")
    modules = attention_modules(family, reference.eval(), reference.config)
    assert {slot for slot, _, _ in modules} == {"encoder", "decoder", "cross"}
    slots.update({module: row for row, (_, _, module) in enumerate(modules)})
    batch = inputs_of(kind, padding)
    with torch.no_grad():
        expected = reference(**batch).last_hidden_state
        found = run(backbone, family, prefix, batch)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def sdpa_mask_always(*arguments: Any, **options: Any) -> Tensor | None:
    """Masks without the shortcut that leaves "causal" to the attention function."""
    options["allow_is_causal_skip"] = False
    return sdpa_mask(*arguments, **options)


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_t5_bias_of_real_tokens_is_the_same_behind_a_prefix(
    stack: str, folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = load_backbone(str(folders("t5")))
    family = open_backbone(str(folders("t5"))).family
    prefix = random_prefix(family, backbone, length=100)
    batch = inputs_of("t5", "none")
    module = next(m for s, n, m in attention_modules(family, backbone, backbone.config)
                  if (s, n) == (stack, 0))  # fmt: skip
    plain = module.compute_bias(*((9, 9) if stack == "encoder" else (4, 4)))
    seen: list[Tensor] = []

    def spy(module_: Any, *arguments: Any, **options: Any) -> Any:
        if module_ is module:
            seen.append(options["position_bias"])
        return stock(module_, *arguments, **options)

    from ptv2_scale.backbones import attention_call

    stock = attention_call.sdpa_attention_forward
    monkeypatch.setattr(attention_call, "sdpa_attention_forward", spy)
    with torch.no_grad():
        run(backbone, family, prefix, batch)
    assert torch.equal(seen[0][..., 100:], plain)
    assert seen[0][..., :100].abs().max() == 0


def gradient(backbone: Any, family: Family, seeds: tuple[int, ...], dropout: float) -> list[Tensor]:
    """Gradients of several prefixes whose forward passes all precede one backward pass."""
    kinds = T5_KINDS if family.name == "T5" else ()
    prefixes = []
    total = torch.zeros(())
    torch.manual_seed(99)
    for seed in seeds:
        drawn = random_prefix(family, backbone, seed=seed)
        values = drawn.keys_values.requires_grad_()
        prefixes.append(values)
        batch = inputs_of(kinds[0] if kinds else "bert", "right")
        output = run(backbone, family, BoundPrefix(values, drawn.slots, dropout), batch)
        total = total + (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum()
    total.backward()
    return [values.grad for values in prefixes]


@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_checkpointing_gives_the_same_bits_and_really_recomputes(
    kind: str, folders: Callable[[str], Path]
) -> None:
    family = open_backbone(str(folders(kind))).family
    plain = load_backbone(str(folders(kind)), dropout=0.1).train()
    again = load_backbone(str(folders(kind)), dropout=0.1).train()
    enable_checkpointing(again)
    calls: list[object] = []
    for _, _, module in attention_modules(family, again, again.config):
        module.register_forward_hook(lambda m, *_: calls.append(m))
    expected = gradient(plain, family, (0,), dropout=0.2)
    found = gradient(again, family, (0,), dropout=0.2)
    assert torch.equal(found[0], expected[0])
    assert float(found[0].abs().sum()) > 0
    assert len(calls) == 2 * len(attention_modules(family, again, again.config))


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_two_prefixes_before_one_backward_pass_do_not_mix(
    kind: str, checkpointing: bool, folders: Callable[[str], Path]
) -> None:
    family = open_backbone(str(folders(kind))).family
    backbone = load_backbone(str(folders(kind))).train()
    if checkpointing:
        enable_checkpointing(backbone)
    both = gradient(backbone, family, (1, 2), dropout=0.0)
    for seed, found in zip((1, 2), both, strict=True):
        (alone,) = gradient(backbone, family, (seed,), dropout=0.0)
        assert torch.equal(found, alone)


def test_layers_below_the_prefix_run_no_backward_pass(folders: Callable[[str], Path]) -> None:
    backbone = load_backbone(str(folders("llama"))).train()
    enable_checkpointing(backbone)
    batch = batch_of("right")
    assert not backbone(**batch).last_hidden_state.requires_grad


def test_dropout_draws_one_mask_an_example(folders: Callable[[str], Path]) -> None:
    backbone = load_backbone(str(folders("bert")))
    family = open_backbone(str(folders("bert"))).family
    drawn = random_prefix(family, backbone)
    same = {key: value[:1].expand(2, -1) for key, value in batch_of("none").items()}
    torch.manual_seed(1)
    with torch.no_grad():
        first, second = run(
            backbone, family, BoundPrefix(drawn.keys_values, drawn.slots, 0.5), same
        )
        plain = run(backbone, family, drawn, same)
    assert not torch.equal(first, second)
    assert torch.equal(plain[0], plain[1])


def test_a_longer_key_without_mask_keeps_the_last_tokens() -> None:
    # Stock sdpa cuts the keys to the query length where no mask is given.
    torch.manual_seed(0)
    module = torch.nn.Module()
    query, key, value = (torch.randn(1, 2, n, 4) for n in (3, 5, 5))
    prefix = BoundPrefix(torch.randn(1, 2, 2, 1, 4), {module: 0})
    with bind(prefix):
        found, _ = prefix_attention(module, query, key, value, None, scaling=0.5)
    keys = torch.cat((prefix.keys_values[0, 0][None], key), dim=2)
    values = torch.cat((prefix.keys_values[0, 1][None], value), dim=2)
    # A query i of the last three sees the prefix and the first i + 3 keys.
    for i in range(3):
        scores = (query[:, :, i : i + 1] @ keys[:, :, : i + 4].transpose(2, 3)) * 0.5
        expected = scores.softmax(-1) @ values[:, :, : i + 4]
        assert torch.allclose(found[:, i], expected[:, :, 0], atol=1e-6)
