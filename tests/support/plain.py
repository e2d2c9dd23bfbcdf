"""Models of transformers trained by hand on the batches of `tiny`, and ours beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fake_setup import fake_setup
from tiny import BIDIRECTIONAL, batch_of
from torch import Tensor
from transformers import AutoModel

from ptv2_scale.backbones.attention import enable_checkpointing
from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import Setup, build_model, first_values, model_filler

FIRST = BIDIRECTIONAL  # whose linear head reads the first token
T5 = ("t5", "mt5")


def wide_values(setup: Setup) -> dict[str, Tensor]:
    """Random values of all that is trained but the backbone's own, wide enough to matter."""
    generator = torch.Generator().manual_seed(4)
    return {
        name: torch.randn(value.shape, generator=generator) * 0.5
        for name, value in first_values(setup).items()
    }


def ours(
    folder: Path, prompt: dict[str, Any], checkpointing: bool = False
) -> tuple[PromptedModel, dict[str, Tensor]]:
    """Our model of a tiny backbone in `train()` mode, and the values it was given."""
    setup = fake_setup(folder, prompt=prompt)
    model, values = build_model(setup), wide_values(setup)
    materialise(model, model_filler(setup, model, NamedTensors(values)), Unsharded())
    if checkpointing:
        enable_checkpointing(model.backbone)
    return model.train(), values


def loss_of(outputs: Tensor) -> Tensor:
    """A scalar on which every output has another weight."""
    return (outputs.float() * torch.linspace(-1, 1, outputs.numel()).view_as(outputs)).sum()


def gradients(model: PromptedModel, padding: str) -> dict[str, Tensor | None]:
    """Of all that is trained."""
    loss_of(model(**batch_of(padding)).outputs).backward()
    return {name: parameter.grad for name, parameter in model.trained().items()}


def plain_backbone(folder: Path) -> Any:
    """transformers' own model, all of it trained, with its own attention."""
    return AutoModel.from_pretrained(folder, attn_implementation="eager").train()


def positions_of(kind: str, mask: Tensor) -> dict[str, Tensor]:
    """Positions counted from a mask, padding on the left leaving them as they are."""
    if kind in T5:
        return {}
    counted = (mask.cumsum(1) - 1).clamp(min=0)
    if kind == "glm_classic":
        return {"position_ids": torch.stack((counted, torch.zeros_like(counted)), 1)}
    return {"position_ids": counted + (2 if kind.endswith("roberta") else 0)}


def decoder_start(kind: str, rows: int) -> dict[str, Tensor]:
    return {"decoder_input_ids": torch.zeros(rows, 1, dtype=torch.long)} if kind in T5 else {}


def head_logits(kind: str, hidden: Tensor, mask: Tensor, head: dict[str, Tensor]) -> Tensor:
    """A linear head on a text's first token or its last, or on a decoder's only one."""
    if kind in T5:
        read = hidden[:, 0]
    else:
        places = [row.nonzero()[0 if kind in FIRST else -1] for row in mask]
        read = torch.stack([one[int(at)] for one, at in zip(hidden, places, strict=True)])
    return read @ head["head.out_proj.weight"].T + head["head.out_proj.bias"]


def leaves(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies that a gradient is to reach."""
    return {name: value.clone().requires_grad_() for name, value in values.items()}


def check_gradients(
    folder: Path, prompt: dict[str, Any], padding: str, expected: Callable[..., dict[str, Tensor]]
) -> None:
    """Compare our gradients, with and without checkpointing, with those of a function by hand.

    Args:
        folder: of a tiny backbone.
        prompt: the recipe's section.
        padding: of the batch.
        expected: the values our model was given -> gradients by name.
    """
    wanted: dict[str, Tensor] = {}
    for checkpointing in (False, True):
        model, values = ours(folder, prompt, checkpointing)
        wanted = wanted or expected(values)
        found = gradients(model, padding)
        assert found.keys() == wanted.keys()
        for name, gradient in wanted.items():
            own = found[name]
            assert own is not None, name
            scale = float(gradient.abs().max())
            # A decoder of one token: its softmax has but one key, and does not see the query.
            assert scale > 0 or (".decoder." in name and ".SelfAttention.q." in name), name
            atol = 2e-5 * (scale if scale > 1e-3 else 1.0)
            torch.testing.assert_close(own, gradient, rtol=1e-4, atol=atol, msg=name)
