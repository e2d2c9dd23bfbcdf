"""Forward passes over many examples, with the same outputs for any number of ranks.

Micro-batches are fixed by the data alone and dealt whole; every rank runs the same number of
forward passes, for under ZeRO-3 a rank that ran fewer would leave the others waiting. What a
batch gives is made into one value an example where the batch ran; only these values travel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from ptv2_scale.data.collate import Example, by_part
from ptv2_scale.data.order import deal_whole, evaluation_batches
from ptv2_scale.distributed.ranks import RankContext, gather
from ptv2_scale.methods.base import Entry, RunModel
from ptv2_scale.model.prompted import PromptedOutput
from ptv2_scale.model.setup import Setup
from ptv2_scale.runtime.heartbeat import report_progress
from ptv2_scale.tasks.base import Record, Task

T = TypeVar("T")

# (what a batch gives, its inputs, its examples) -> one value an example
Take = Callable[[PromptedOutput, dict[str, Tensor], list[Example]], list[T]]


def _go_on() -> None:
    """Nothing ends the passes early."""


def forward_all(
    run: RunModel,
    setup: Setup,
    examples: Sequence[Example],
    ranks: RankContext,
    take: Take[T],
    *,
    entry: Entry | str | None = "own",
    check: Callable[[], None] = _go_on,
) -> list[T]:
    """Run every example once, without gradients or dropout; every rank calls it.

    Args:
        run: DeepSpeed's engine, or what calls a `PromptedModel` that is in `eval()` already.
        setup: the recipe, opened: its task, padding and micro-batch.
        examples: in the order of the result; each rank has all of them.
        ranks: where this process stands.
        take: makes one value for each example of a batch.
        entry: see `PromptedModel.forward`.
        check: called before each micro-batch, on all ranks alike; may raise to end it early.

    Returns:
        One value an example, on every rank.
    """
    module: Any = getattr(run, "module", None)
    if module is not None:
        module.eval()
    own: list[tuple[int, T]] = []
    with torch.no_grad():
        for batch in _own_batches(setup, examples, ranks):
            check()
            report_progress("an evaluation")
            rows = [examples[index] for index in batch.indices]
            made = setup.task.collate(rows, setup.padding).to(ranks.device)
            output = run(entry=entry, **made.arguments)
            if batch.counts:
                own += zip(batch.indices, take(output, made.inputs, rows), strict=True)
    found = dict(pair for pairs in gather(own, ranks) for pair in pairs)
    return [found[index] for index in range(len(examples))]


class _OwnBatch(NamedTuple):
    """Examples of one forward pass of this rank; one without work runs some that do not count."""

    indices: list[int]
    counts: bool


def _own_batches(
    setup: Setup, examples: Sequence[Example], ranks: RankContext
) -> Iterator[_OwnBatch]:
    """This rank's batches: as many as every other's, each of the same task."""
    size = setup.config.evaluate.micro_batch
    for indices in by_part(examples):
        lengths = [examples[index].length for index in indices]
        batches = [[indices[place] for place in one] for one in evaluation_batches(lengths, size)]
        for chosen in deal_whole(batches, ranks.rank, ranks.world):
            yield _OwnBatch(chosen or batches[0], chosen is not None)


def answer_all(
    run: RunModel,
    setup: Setup,
    examples: Sequence[Example],
    ranks: RankContext,
    check: Callable[[], None] = _go_on,
    *,
    entry: Entry | str | None = "own",
) -> list[Record]:
    """The task's answers, one record a row, in the order of rows; see `forward_all`."""

    def decode(output: PromptedOutput, _: dict[str, Tensor], rows: list[Example]) -> list[Record]:
        return setup.task.decode(output.outputs, rows)

    records = forward_all(run, setup, examples, ranks, decode, entry=entry, check=check)
    return by_rows(setup.task, examples, records)


def by_rows(task: Task, examples: Sequence[Example], records: Sequence[Record]) -> list[Record]:
    """One record a row, from those of its examples."""
    pairs = groupby(zip(examples, records, strict=True), key=lambda pair: pair[0].row)
    return [task.combine([record for _, record in group]) for _, group in pairs]
