"""FlexAttention over text and shared prefix, against the plain route: outputs and gradients.

PyTorch refuses gradients of FlexAttention on CPUs, by one check. Its reference arithmetic, which
runs there, has them; the tests take the check away.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from points import sample
from routes import PADDINGS, both_routes, drawn, furthest, made_by
from tiny import MODEL_TYPES, save_backbone
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import flex_attention as flex

from ptv2_scale.backbones import attention_call, shared_prefix
from ptv2_scale.backbones.attention import enable_checkpointing

KINDS = [kind for kind in MODEL_TYPES if not kind.startswith("deberta")]
# Each family once, and each padding; all of them at length.
CASES = [
    *((kind, PADDINGS[place % 3]) for place, kind in enumerate(KINDS)),
    *sample([(k, PADDINGS[(n + more) % 3]) for n, k in enumerate(KINDS) for more in (1, 2)], 2),
]
# By its name, which is the operator's in the package that it is in.
OPERATOR = import_module("torch._higher_order_ops.flex_attention")
TRACE = OPERATOR.create_fw_bw_graph
Folders = Callable[[str], Path]


def traced_apart(*given: Any) -> Any:
    """The trace of a score's gradient. Where layers are computed again, it would be so, too."""
    with saved_tensors_hooks(lambda one: one, lambda one: one):
        return TRACE(*given)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the keys of each call of FlexAttention, which has gradients here."""
    monkeypatch.setattr(attention_call, "has_gradients", lambda device: True)
    monkeypatch.setattr(flex, "_validate_device", lambda *tensors: None)
    monkeypatch.setattr(flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)  # without dynamo
    monkeypatch.setattr(OPERATOR, "create_fw_bw_graph", traced_apart)
    made: list[tuple[int, ...]] = []
    attend = shared_prefix.attention_with_sums

    def counted(query: Tensor, key: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        made.append(tuple(key.shape))
        return attend(query, key, *rest)

    monkeypatch.setattr(shared_prefix, "attention_with_sums", counted)
    return made


@pytest.mark.parametrize(("kind", "padding"), CASES)
def test_states_and_gradients_are_those_of_the_plain_route(
    kind: str, padding: str, folders: Folders, calls: list[tuple[int, ...]]
) -> None:
    plain, other, family = both_routes("flex", folders(kind))
    prefix = drawn(family, plain.config, 5)
    expected = made_by(plain, family, padding, prefix)
    assert calls == []
    assert furthest(made_by(other, family, padding, prefix), expected) < 1e-5
    # Two calls a layer: over the text, with keys of all three, and over the prefix, with one's.
    texts, fronts = calls[::2], calls[1::2]
    assert len(calls) == 2 * len(prefix.values)
    assert {shape[0] for shape in texts} == {3}
    assert set(fronts) == {(1, *prefix.values.shape[2:])}


@pytest.mark.parametrize("kind", ["t5", "gemma2"])
def test_checkpointing_and_another_length(
    kind: str, folders: Folders, calls: list[tuple[int, ...]]
) -> None:
    plain, other, family = both_routes("flex", folders(kind))
    enable_checkpointing(other)
    prefix = drawn(family, plain.config, 33)
    expected = made_by(plain, family, "right", prefix)
    assert furthest(made_by(other, family, "right", prefix), expected) < 1e-5
    assert len(calls) == 4 * len(prefix.values)


def test_dropout_of_the_prefix_gives_each_example_its_own(
    folders: Folders, calls: list[tuple[int, ...]]
) -> None:
    plain, other, family = both_routes("flex", folders("bert"))
    prefix, made = drawn(family, plain.config, 5, dropout=0.3), []
    for backbone in (plain, other):
        torch.manual_seed(3)
        made.append(made_by(backbone, family, "right", prefix))
    assert furthest(made[1], made[0]) < 1e-5
    assert {shape[0] for shape in calls} == {3}


def test_dropout_of_attention_takes_the_plain_route(
    folders: Folders, calls: list[tuple[int, ...]]
) -> None:
    plain, other, family = both_routes("flex", folders("bert"), dropout=0.3)
    prefix, made = drawn(family, plain.config, 5), []
    for backbone in (plain, other):
        torch.manual_seed(3)
        made.append(made_by(backbone, family, "right", prefix))
    assert torch.equal(made[1][1], made[0][1])
    assert calls == []


def test_a_gated_prefix_and_a_cpu_take_the_plain_route(folders: Folders) -> None:
    plain, other, family = both_routes("flex", folders("llama"))
    gates = torch.linspace(-1, 1, 12).view(3, 4)
    for prefix in (drawn(family, plain.config, 5), drawn(family, plain.config, 5, gates=gates)):
        expected = made_by(plain, family, "right", prefix)
        found = made_by(other, family, "right", prefix)
        assert all(torch.equal(one, it) for one, it in zip(found, expected, strict=True))


def test_what_pytorch_refuses_on_a_cpu() -> None:
    """Once it does not any more, CPUs need no exception."""
    query = torch.randn(1, 2, 3, 8, requires_grad=True)
    with pytest.raises(NotImplementedError, match="does not support backward on CPU"):
        flex.flex_attention(query, query, query)


WIDER = {"t5": {"d_kv": 16}, "bert": {"hidden_size": 64}, "gemma2": {"head_dim": 16}}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="FlexAttention's kernels are of GPUs")
@pytest.mark.parametrize("kind", WIDER)
def test_on_a_gpu(kind: str, tmp_path: Path) -> None:
    """Its heads are 16 wide at least there."""
    folder = save_backbone(kind, tmp_path, **WIDER[kind])
    plain, other, family = both_routes("flex", folder)
    prefix = drawn(family, plain.config, 5)
    expected = made_by(plain, family, "right", prefix)
    found = made_by(other.cuda(), family, "right", prefix)
    assert furthest(tuple(one.cpu() for one in found), expected) < 1e-2
