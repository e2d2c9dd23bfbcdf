"""Floating-point operations of a micro-batch: what its passes need, and what is made once more.

Counted by PyTorch's own formulas while a forward and a backward pass run on the meta device. A
frozen layer has a gradient of its input and none of its weights, so that its backward pass costs as
much as its forward pass, and not twice as much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers.integrations.sdpa_attention import repeat_kv

from ptv2_scale.data.collate import Example, Padding
from ptv2_scale.estimate.kernels import DeviceKernels, KnownValues, written_out
from ptv2_scale.estimate.layers import apply_checkpointing, on_meta
from ptv2_scale.estimate.passes import run_backward
from ptv2_scale.model.setup import Setup, build_model


@dataclass(frozen=True)
class Operations:
    """Floating-point operations of a rank's micro-batch of the longest texts.

    Attributes:
        needed: of a forward and a backward pass, attention written out; of these MFU is taken.
        repeated: of the forward passes that checkpointing makes once more.
        tokens: of the texts.
    """

    needed: int
    repeated: int
    tokens: int

    @property
    def made(self) -> int:
        """All that are made."""
        return self.needed + self.repeated


def count_operations(setup: Setup) -> Operations:
    """Operations of a micro-batch of a recipe, for the sort of text that takes most.

    Args:
        setup: the recipe, opened; its longest text, micro-batch and checkpointing count.

    Raises:
        UserError: see `build_model`.
    """
    train, longest = setup.config.train, setup.config.task.longest
    examples = setup.task.longest(longest)
    needed = max(_count(setup, one, checkpointing=False) for one in examples)
    made = needed
    if train.gradient_checkpointing and setup.method.trains_through_backbone:
        made = max(_count(setup, one, checkpointing=True) for one in examples)
    return Operations(needed, made - needed, train.examples * longest)


class _WrittenOut(DeviceKernels):
    """Attention as products of matrices, which are counted."""

    def _attend(
        self,
        attention: Callable[..., Tensor],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        **options: Any,
    ) -> Tensor:
        mask = written_out(attn_mask, query.device)
        return attention(query, key, value, mask, dropout_p, **options)

    def _attend_with_sums(
        self, query: Tensor, key: Tensor, value: Tensor, *changed: Any
    ) -> tuple[Tensor, Tensor]:
        groups = query.shape[1] // key.shape[1]
        scores = query @ repeat_kv(key, groups).transpose(2, 3)
        return scores.softmax(dim=-1) @ repeat_kv(value, groups), scores.logsumexp(dim=-1)


def _count(setup: Setup, example: Example, *, checkpointing: bool) -> int:
    model = on_meta(build_model(setup)).train()
    if checkpointing:
        apply_checkpointing(setup, model)
    values, counter = KnownValues(), FlopCounterMode(display=False)
    batch = setup.task.collate([example] * setup.config.train.examples, Padding(0))
    batch = batch.moved(values.on_meta)
    with _WrittenOut("cpu", values), counter:
        outputs = model(**batch.arguments).outputs
        if model.trained():
            run_backward(setup.task.loss_sum(outputs, batch.targets))
    return int(counter.get_total_flops())
