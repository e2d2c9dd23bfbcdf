"""The check before training: it passes for every family, and each way to lose a prefix fails it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_setup import fake_setup
from tiny import MODEL_TYPES, batch_of, save_backbone

from ptv2_scale.backbones import attention, attention_call
from ptv2_scale.backbones.attention import enable_checkpointing
from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.methods.guard import MethodUnusedError
from ptv2_scale.methods.prefix.guard import check_prefix
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import build_model, first_values, model_filler
from ptv2_scale.tasks.heads import Head, LinearHead
from ptv2_scale.tasks.token_head import TokenHead


def model_of(kind: str, folder: Path, **changes: Any) -> PromptedModel:
    setup = fake_setup(save_backbone(kind, folder), **changes)
    model = build_model(setup)
    materialise(model, model_filler(setup, model, NamedTensors(first_values(setup))), Unsharded())
    enable_checkpointing(model.backbone)
    return model


@pytest.mark.parametrize("padding", ["right", "left"])
@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_every_family_passes_and_is_left_as_it_was(kind: str, padding: str, tmp_path: Path) -> None:
    model = model_of(kind, tmp_path).eval()
    check_prefix(model, model, batch_of(padding))
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("head", [LinearHead(32, 3, "last"), TokenHead(32, 3)])
def test_another_route_is_compared_with_transformers_own_where_texts_are(
    head: Head, tmp_path: Path
) -> None:
    """States of padding, which a head of tokens gives too, follow from the route."""
    model = model_of("llama", tmp_path, backbone={"attention": "causal"}).eval()
    model.head = head
    check_prefix(model, model, {**batch_of("right"), "right_padded": True})
    with pytest.raises(MethodUnusedError, match="route disagrees"):
        check_prefix(model, model, {**batch_of("left"), "right_padded": True})


def test_some_layers_of_some_slots_pass(tmp_path: Path) -> None:
    model = model_of("t5", tmp_path, prompt={"slots": ["decoder", "cross"], "layers": "2-2"})
    assert len(model.adapter.slots) == 2
    check_prefix(model, model, batch_of("right"))


def stock_attention(model: PromptedModel, patch: pytest.MonkeyPatch) -> None:
    model.backbone.set_attn_implementation("sdpa")


def module_that_never_runs(model: PromptedModel, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(model.adapter, "slots", {**model.adapter.slots, torch.nn.Linear(1, 1): 0})


def prefix_that_is_cut_off(model: PromptedModel, patch: pytest.MonkeyPatch) -> None:
    whole = attention._expanded
    patch.setattr(attention, "_expanded", lambda *given: whole(*given)[:, :, 1:])


def gradient_that_is_cut_off(model: PromptedModel, patch: pytest.MonkeyPatch) -> None:
    whole = attention._expanded
    patch.setattr(
        attention,
        "_expanded",
        lambda prefix, states, dropout: whole(prefix * 0 + prefix.detach(), states, dropout),
    )


@pytest.mark.parametrize(
    ("lose", "message"),
    [
        (stock_attention, "attends by 'sdpa'"),
        (module_that_never_runs, "not called exactly once"),
        (prefix_that_is_cut_off, "keys are not longer by 7"),
        (gradient_that_is_cut_off, "no gradient reaches the prefix of layers.0.self_attn"),
    ],
)
def test_a_lost_prefix_is_noticed(
    lose: Callable[[PromptedModel, pytest.MonkeyPatch], None],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of("llama", tmp_path)
    lose(model, monkeypatch)
    with pytest.raises(MethodUnusedError, match=message):
        check_prefix(model, model, batch_of("right"))


def test_a_prefix_that_changes_nothing_is_noticed(tmp_path: Path) -> None:
    model = model_of("llama", tmp_path)
    original = model.forward

    def without(entry: Any = "own", **inputs: Any) -> Any:
        return original(entry=None if entry == "own" else entry, **inputs)

    model.forward = without  # type: ignore[method-assign]
    with pytest.raises(MethodUnusedError, match="changes nothing"):
        check_prefix(model, model, batch_of("right"))


def test_another_result_than_transformers_own_route_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of("llama", tmp_path)
    pad = attention_call._pad_left
    # The first prefix token is hidden by our mask.
    monkeypatch.setattr(
        attention_call,
        "_pad_left",
        lambda mask, columns, value: pad(pad(mask, columns - 1, value), 1, not value),
    )
    with pytest.raises(MethodUnusedError, match="own key/value route disagrees"):
        check_prefix(model, model, batch_of("right"))


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_the_longest_prefix_passes_and_has_the_gradient_of_no_checkpointing(
    kind: str, tmp_path: Path
) -> None:
    """And its positions: rotary ones move by all of its tokens."""
    save_backbone(kind, tmp_path)
    found = []
    for checkpointing in (True, False):
        model = model_of(kind, tmp_path, prompt={"length": 8192, "init_scale": 0.5})
        if not checkpointing:
            model.backbone.gradient_checkpointing_disable()
        check_prefix(model, model, batch_of("right"))
        model.train()(**batch_of("right")).outputs.square().sum().backward()
        found.append(model.adapter.embedding.weight.grad)
    assert found[0].shape[0] == 8192
    assert found[0].abs().sum(1).min() > 0
    assert torch.equal(*found)
