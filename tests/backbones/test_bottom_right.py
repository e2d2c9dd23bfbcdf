"""Causal attention without a mask, against the plain route: outputs and the prefix's gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from points import EVERYTHING
from routes import PADDINGS, both_routes, drawn, furthest, made_by
from tiny import CAUSAL
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ptv2_scale.backbones import attention_call, bottom_right
from ptv2_scale.backbones.attention import enable_checkpointing

KINDS = [kind for kind in CAUSAL if kind != "gemma2"]  # its soft cap keeps it on the plain route
# Layers that attend within a window of 4, shorter than the texts.
WINDOWED = {"mistral": 3, "gemma3_text": 2}
# Each family padded in each way, with checkpointing or without; all of them at length.
WAYS = [(5, False), (5, True), (33, False), (1, True)]
CASES = [
    (kind, padding, *way)
    for row, kind in enumerate(KINDS)
    for column, padding in enumerate(PADDINGS)
    for way in (WAYS if EVERYTHING else WAYS[(row + column) % 2 :: 4])
]
Folders = Callable[[str], Path]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Queries and keys of each call of attention without a mask."""
    made: list[tuple[int, int]] = []
    plain = bottom_right.bottom_right_attention

    def counted(query: Tensor, key: Tensor, *rest: Any) -> Tensor:
        made.append((query.shape[2], key.shape[2]))
        return plain(query, key, *rest)

    monkeypatch.setattr(attention_call, "bottom_right_attention", counted)
    return made


@pytest.mark.parametrize(("kind", "padding", "length", "checkpointing"), CASES)
def test_states_and_gradients_are_those_of_the_plain_route(
    kind: str,
    padding: str,
    length: int,
    checkpointing: bool,
    folders: Folders,
    calls: list[tuple[int, int]],
) -> None:
    plain, causal, family = both_routes("causal", folders(kind))
    if checkpointing:
        enable_checkpointing(causal)
    prefix = drawn(family, plain.config, length)
    expected = made_by(plain, family, padding, prefix)
    assert calls == []
    assert furthest(made_by(causal, family, padding, prefix), expected) < 1e-5
    layers = 0 if padding == "left" else 3 - WINDOWED.get(kind, 0)
    assert calls == [(9, length + 9)] * (layers * (1 + checkpointing))


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_gated_prefix(kind: str, folders: Folders, calls: list[tuple[int, int]]) -> None:
    """Its text and its prefix are attended to apart, so that neither has a mask by itself."""
    plain, causal, family = both_routes("causal", folders(kind))
    prefix = drawn(family, plain.config, 5, gates=torch.linspace(-1, 1, 12).view(3, 4))
    expected = made_by(plain, family, "right", prefix)
    assert furthest(made_by(causal, family, "right", prefix), expected) < 1e-5
    assert calls == []


def test_layers_without_a_prefix_have_no_mask_either(
    folders: Folders, calls: list[tuple[int, int]]
) -> None:
    plain, causal, family = both_routes("causal", folders("llama"))
    prefix = drawn(family, plain.config, 5, layers=1)
    expected = made_by(plain, family, "right", prefix)
    assert furthest(made_by(causal, family, "right", prefix), expected) < 1e-5
    assert calls == [(9, 14)]


@pytest.mark.parametrize("kind", ["llama", "gemma3_text"])
def test_fewer_heads_of_keys_are_not_repeated_where_flash_attention_reads_them(
    kind: str, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, causal, family = both_routes("causal", folders(kind), "bf16")
    prefix = drawn(family, plain.config, 5)
    expected = made_by(plain, family, "right", prefix)
    monkeypatch.setattr(bottom_right, "repeat_kv", None)
    assert furthest(made_by(causal, family, "right", prefix), expected) < 0.05


def test_dropout_of_the_prefix_and_of_weights_draws_the_same(folders: Folders) -> None:
    *backbones, family = both_routes("causal", folders("llama"), dropout=0.3)
    prefix = drawn(family, backbones[0].config, 5, dropout=0.3)
    made = []
    for backbone in backbones:
        torch.manual_seed(3)
        made.append(made_by(backbone, family, "right", prefix))
    assert furthest(made[1], made[0]) < 1e-5


def test_left_padding_that_is_taken_for_right_padding_shows(folders: Folders) -> None:
    """What is said of a batch is not looked at again."""
    plain, causal, family = both_routes("causal", folders("llama"))
    prefix = drawn(family, plain.config, 5)
    expected = made_by(plain, family, "left", prefix)
    assert furthest(made_by(causal, family, "left", prefix, known=False), expected) < 1e-5
    assert furthest(made_by(causal, family, "left", prefix, known=True), expected) > 1e-2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="flash attention of a GPU is not here")
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_flash_attention_takes_it(kind: str, folders: Folders) -> None:
    """No other kernel may, and flash attention takes no mask."""
    plain, causal, family = both_routes("causal", folders(kind), "bf16")
    prefix = drawn(family, plain.config, 5)
    expected = made_by(plain, family, "right", prefix)
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
        found = made_by(causal.cuda(), family, "right", prefix)
    assert furthest(tuple(one.cpu() for one in found), expected) < 0.05
