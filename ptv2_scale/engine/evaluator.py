"""Evaluation whose predictions are the same for any number of ranks.

Micro-batches are fixed by the data alone and dealt whole; every rank runs the same number of
forward passes, for under ZeRO-3 a rank that ran fewer would leave the others waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ptv2_scale.data.collate import Example
from ptv2_scale.data.order import deal_whole, evaluation_batches
from ptv2_scale.distributed.ranks import RankContext, sum_over_ranks
from ptv2_scale.model.setup import Setup
from ptv2_scale.runtime.heartbeat import report_progress

_NOT_INPUTS = ("labels", "index")


def _go_on() -> None:
    """Nothing ends an evaluation early."""


def model_inputs(batch: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """What of a batch goes into the model, on its device."""
    return {key: value.to(device) for key, value in batch.items() if key not in _NOT_INPUTS}


def forward_all(
    run: Any,
    setup: Setup,
    examples: Sequence[Example],
    ranks: RankContext,
    *,
    prefix: object = "own",
    field: str = "logits",
    check: Callable[[], None] = _go_on,
) -> Tensor:
    """Run every example once, without gradients or dropout.

    Args:
        run: DeepSpeed's engine, or what calls a `PromptedModel` that is in `eval()` already.
        setup: the recipe, opened: its task, padding and micro-batch.
        examples: in the order of the result; each rank has all of them.
        ranks: where this process stands.
        prefix: "own", or None to take the prefix out.
        field: "logits" or "features" of the model's output.
        check: called before each micro-batch, on all ranks alike; may raise to end it early.

    Returns:
        fp32, [examples, ...], on the CPU of every rank.
    """
    batches = evaluation_batches(
        [example.length for example in examples], setup.config.evaluate.micro_batch
    )
    module = getattr(run, "module", None)
    if module is not None:
        module.eval()
    collected: Tensor | None = None
    with torch.no_grad():
        for chosen in deal_whole(batches, ranks.rank, ranks.world):
            check()
            report_progress("an evaluation")
            # A rank without work runs a batch that is not counted.
            rows = [examples[index] for index in (chosen or batches[0])]
            batch = setup.task.collate(rows, setup.padding)
            output = run(prefix=prefix, **model_inputs(batch, ranks.device))
            values = getattr(output, field).float()
            if collected is None:
                collected = values.new_zeros((len(examples), *values.shape[1:]))
            if chosen is not None:
                collected[chosen] = values
    assert collected is not None
    if ranks.world > 1:
        sum_over_ranks(collected)
    return collected.cpu()
