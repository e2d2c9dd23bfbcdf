"""DeBERTa with a prefix, against transformers' own model and against its paper in fp64 matmuls."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import batch_of, save_backbone
from torch import Tensor
from transformers import AutoModel

from ptv2_scale.backbones.attention import BoundPrefix
from ptv2_scale.backbones.binding import bind
from ptv2_scale.backbones.family import attention_modules
from ptv2_scale.backbones.load import load_backbone, open_backbone

BOTH, NEAR = ["c2p", "p2c"], {"max_relative_positions": 5}  # nearer than the texts are long
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "v1": ("deberta", {}),
    "v1 content to position": ("deberta", {"pos_att_type": ["c2p"], **NEAR}),
    "v1 position to content": ("deberta", {"pos_att_type": ["p2c"], **NEAR}),
    "v1 without relative positions": ("deberta", {"relative_attention": False}),
    "v1 types alone": ("deberta", {"pos_att_type": [], "position_biased_input": False}),
    "v2 xlarge, v3": ("deberta-v2", {}),
    "v2 own projections": ("deberta-v2", {"share_att_key": False, "norm_rel_ebd": "none"}),
    "v2 content to position": ("deberta-v2", {"share_att_key": False, "pos_att_type": ["c2p"]}),
    "v2 position to content": ("deberta-v2", {"pos_att_type": ["p2c"], "conv_kernel_size": 0}),
    "v2 without buckets": ("deberta-v2", {"position_buckets": -1, **NEAR}),
    "v2 without relative positions": (
        "deberta-v2",
        {"relative_attention": False, "position_biased_input": True},
    ),
}


@pytest.mark.parametrize("padding", ["none", "right", "left"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_without_prefix_is_transformers_own_model(
    setting: str, padding: str, tmp_path: Path
) -> None:
    kind, changes = SETTINGS[setting]
    folder = save_backbone(kind, tmp_path, **changes)
    batch = batch_of(padding)
    with torch.no_grad():
        expected = AutoModel.from_pretrained(folder).eval()(**batch).last_hidden_state
        found = load_backbone(str(folder))(**batch).last_hidden_state
    real = batch["attention_mask"].bool()
    assert (found - expected)[real].abs().max() <= 3e-6 * expected.abs().max()


def projected(module: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of an attention module [batch, heads, n, d]."""
    heads = module.num_attention_heads
    if hasattr(module, "in_proj"):
        joined = (hidden @ module.in_proj.weight.T).unflatten(-1, (heads, -1)).transpose(1, 2)
        query, key, value = joined.chunk(3, dim=-1)
        shape = (1, heads, 1, -1)
        return query + module.q_bias.view(shape), key, value + module.v_bias.view(shape)
    layers = (module.query_proj, module.key_proj, module.value_proj)
    query, key, value = (hidden @ one.weight.T + one.bias for one in layers)
    return tuple(one.unflatten(-1, (heads, -1)).transpose(1, 2) for one in (query, key, value))  # type: ignore[return-value]


def position_rows(module: Any, table: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Key and query of every relative position [heads, 2 x span, d], where the module has them."""
    heads, types = module.num_attention_heads, module.pos_att_type

    def through(name: str) -> Tensor:
        layer = getattr(module, name)
        bias = 0 if layer.bias is None else layer.bias
        return (table @ layer.weight.T + bias).unflatten(-1, (heads, -1)).transpose(0, 1)

    if hasattr(module, "in_proj"):
        names = ("pos_proj", "pos_q_proj")
    else:
        names = (
            ("key_proj", "query_proj")
            if module.share_att_key
            else ("pos_key_proj", "pos_query_proj")
        )
    return (
        through(names[0]) if "c2p" in types else None,
        through(names[1]) if "p2c" in types else None,
    )


def written_out(
    module: Any,
    hidden: Tensor,
    real: Tensor,
    distance: Tensor,
    table: Tensor | None,
    prefix: Tensor,
) -> Tensor:
    """Disentangled attention as its paper has it (equations 2 to 4), one pair of tokens at a time.

    Args:
        module: of attention, in fp64.
        hidden: [batch, n, width].
        real: [batch, n], 1 for text.
        distance: of token i from token j [n, n], in buckets where there are such.
        table: of relative positions [2 x span, width]; the middle is distance 0.
        prefix: [2, heads, length, d].
    """
    query, key, value = projected(module, hidden)
    scores = query @ key.transpose(2, 3)
    types = module.pos_att_type
    parts = 1 + len(types)
    if table is not None:
        position_key, position_query = position_rows(module, table)
        span = len(table) // 2
        for i in range(hidden.shape[1]):
            for j in range(hidden.shape[1]):
                to = int((distance[i, j] + span).clamp(0, 2 * span - 1))
                if position_key is not None:
                    scores[:, :, i, j] += (query[:, :, i] * position_key[:, to]).sum(-1)
                # transformers reads the distance of the key from the query with its sign turned.
                back = int((-distance[j, i] + span).clamp(0, 2 * span - 1))
                if position_query is not None:
                    scores[:, :, i, j] += (key[:, :, j] * position_query[:, back]).sum(-1)
    scale = (query.shape[-1] * parts) ** 0.5
    own = (scores / scale).masked_fill(~real.bool()[:, None, None, :], float("-inf"))
    front = query @ prefix[0].transpose(1, 2) / scale
    weights = torch.cat((front, own), dim=-1).softmax(dim=-1)
    length = prefix.shape[2]
    mixed = weights[..., :length] @ prefix[1] + weights[..., length:] @ value
    return mixed.transpose(1, 2).flatten(2)


@pytest.mark.parametrize("padding", ["none", "right", "left"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_prefix_has_content_and_no_relative_position(
    setting: str, padding: str, tmp_path: Path
) -> None:
    """Outputs and gradients of every layer's attention, for the hidden states that it was given."""
    kind, changes = SETTINGS[setting]
    folder = save_backbone(kind, tmp_path, **changes)
    backbone, family = load_backbone(str(folder)), open_backbone(str(folder)).family
    modules = [module for _, _, module in attention_modules(family, backbone, backbone.config)]
    values = torch.randn(3, 2, 4, 5, 8, generator=torch.Generator().manual_seed(1))
    values.requires_grad_()
    seen: dict[Any, tuple[Tensor, Tensor]] = {}
    for module in modules:
        module.register_forward_hook(
            lambda module, given, result: seen.update({module: (given[0].detach(), result[0])})
        )
    batch = batch_of(padding)
    with bind(BoundPrefix(values, {module: row for row, module in enumerate(modules)})):
        backbone(**batch)
    real = batch["attention_mask"]
    relative, table = backbone.encoder.get_rel_pos(torch.zeros(1, 9, 1)), None
    if backbone.config.relative_attention:
        relative, table = relative[0], backbone.encoder.get_rel_embedding().double()
    if table is not None and kind == "deberta":
        # Its table is read around the middle, as far as the text is long.
        span = min(9, len(table) // 2)
        table = table[len(table) // 2 - span : len(table) // 2 + span]
    for row, module in enumerate(modules):
        hidden, found = seen[module]
        prefix = values.detach()[row].double().requires_grad_()
        exact = copy.deepcopy(module).double()
        expected = written_out(exact, hidden.double(), real, relative, table, prefix)
        shown = real.bool()
        assert (found - expected)[shown].abs().max() <= 3e-6 * expected[shown].abs().max()
        weights = torch.linspace(-1, 1, found.shape[-1])
        (ours,) = torch.autograd.grad((found[shown] @ weights).sum(), values, retain_graph=True)
        (theirs,) = torch.autograd.grad((expected[shown] @ weights.double()).sum(), prefix)
        assert (ours[row] - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_positions_of_the_input_move_behind_the_prefix(tmp_path: Path) -> None:
    """Where there is a table of absolute positions, as in the official code."""
    for setting, room in (("v1", 160), ("v2 xlarge, v3", None)):
        kind, changes = SETTINGS[setting]
        files = open_backbone(str(save_backbone(kind, tmp_path / setting, **changes)))
        assert files.family.position_room(files.config) == room
        ids = files.family.position_ids(torch.tensor([[0, 1, 1]]), 5, files.config)
        assert ids is not None
        assert ids.tolist() == [[5, 5, 6]]
