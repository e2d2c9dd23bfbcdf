"""Forward passes over many examples, with the same outputs for any number of ranks.

Micro-batches are fixed by the data alone and dealt whole; every rank runs the same number of
forward passes, for under ZeRO-3 a rank that ran fewer would leave the others waiting. What a
batch gives is made into one value an example where the batch ran; only these values travel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from math import fsum
from typing import Any, NamedTuple, TypeVar

import torch

from ptv2_scale.data.collate import Batch, Example, by_part
from ptv2_scale.data.dealing import deal_whole
from ptv2_scale.data.order import evaluation_batches
from ptv2_scale.distributed.agreement import Fact, check_agreement
from ptv2_scale.distributed.ranks import RankContext, gather
from ptv2_scale.methods.base import Entry, RunModel
from ptv2_scale.model.decoding import Decoding, Request
from ptv2_scale.model.identity import example_digests
from ptv2_scale.model.prompted import PromptedOutput
from ptv2_scale.model.setup import Setup
from ptv2_scale.runtime.heartbeat import report_progress
from ptv2_scale.runtime.run_identity import RowsDigest
from ptv2_scale.tasks.base import Record, Task, TextWriter

T = TypeVar("T")

# (what a batch gives, the batch, its examples) -> one value an example
Take = Callable[[PromptedOutput, Batch, list[Example]], list[T]]


def _go_on() -> None:
    """Nothing ends the passes early."""


def no_report(done: int, total: int) -> None:
    """Nobody waits for news."""


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

    def make(batch: Batch, rows: list[Example]) -> list[T]:
        return take(run(entry=entry, **batch.arguments), batch, rows)

    return over_batches(setup, examples, ranks, make, check=check)


def over_batches(
    setup: Setup,
    examples: Sequence[Example],
    ranks: RankContext,
    make: Callable[[Batch, list[Example]], list[T]],
    *,
    check: Callable[[], None] = _go_on,
    on_progress: Callable[[int, int], None] = no_report,
) -> list[T]:
    """Make one value an example, batch by batch, without gradients; every rank calls it.

    Args:
        setup: its task, padding and micro-batch.
        examples: in the order of the result; each rank has all of them.
        ranks: where this process stands.
        make: the values of a batch's examples; every rank calls it as many times.
        check: see `forward_all`.
        on_progress: called with the number of this rank's batches that are done, from 0 on, and
            with that of all of them.

    Returns:
        One value an example, on every rank.
    """
    own: list[tuple[int, T]] = []
    batches = list(_own_batches(setup, examples, ranks))
    on_progress(0, len(batches))
    with torch.no_grad():
        for number, batch in enumerate(batches, start=1):
            check()
            report_progress("an evaluation")
            rows = [examples[index] for index in batch.indices]
            made = make(setup.task.collate(rows, setup.padding).to(ranks.device), rows)
            if batch.counts:
                own += zip(batch.indices, made, strict=True)
            on_progress(number, len(batches))
    found = dict(pair for pairs in gather(own, ranks) for pair in pairs)
    return [found[index] for index in range(len(examples))]


def check_same_examples(examples: Sequence[Example], ranks: RankContext) -> None:
    """Refuse examples that are other ones on another rank.

    Raises:
        UserError: they are; names the ranks.
    """
    rows = RowsDigest.of(example_digests(examples))
    check_agreement({"the rows": Fact(f"{rows.examples} examples {rows.sha256}")}, ranks)


class _OwnBatch(NamedTuple):
    """Examples of one forward pass of this rank; one without work runs some that do not count."""

    indices: list[int]
    counts: bool


def _own_batches(
    setup: Setup, examples: Sequence[Example], ranks: RankContext
) -> Iterator[_OwnBatch]:
    """This rank's batches: as many as every other's, each of the same task."""
    size = setup.config.evaluate.examples
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
    """The task's answers, one record a row, in the order of rows; see `forward_all`.

    Where the task scores texts, each record has one that was written, too.
    """

    def decode(output: PromptedOutput, _: Batch, rows: list[Example]) -> list[Record]:
        return setup.task.decode(output.outputs, rows)

    records = forward_all(run, setup, examples, ranks, decode, entry=entry, check=check)
    records = _with_texts(run, setup, examples, ranks, entry, check, records)
    return by_rows(setup.task, examples, records)


class Evaluation(NamedTuple):
    """Answers to rows whose right answers are known, and the loss on them.

    Attributes:
        records: one a row.
        loss: mean over what the task's `loss_count` counts, as in training but without dropout.
    """

    records: list[Record]
    loss: float


class _Part(NamedTuple):
    """An example's record; the first one of a batch has the loss of the whole batch."""

    record: Record
    loss: float = 0.0
    terms: int = 0


def evaluate_all(
    run: RunModel,
    setup: Setup,
    examples: Sequence[Example],
    ranks: RankContext,
    check: Callable[[], None] = _go_on,
) -> Evaluation:
    """The task's answers as `answer_all` gives them, with the loss of the same forward passes.

    Batches follow from the data alone, so the loss is the same on any number of ranks.
    """

    def take(output: PromptedOutput, batch: Batch, rows: list[Example]) -> list[_Part]:
        loss = float(setup.task.loss_sum(output.outputs, batch.targets))
        first, *others = setup.task.decode(output.outputs, rows)
        return [_Part(first, loss, setup.task.loss_count(rows)), *map(_Part, others)]

    parts = forward_all(run, setup, examples, ranks, take, check=check)
    records = [part.record for part in parts]
    records = _with_texts(run, setup, examples, ranks, "own", check, records)
    loss = fsum(part.loss for part in parts) / sum(part.terms for part in parts)
    return Evaluation(by_rows(setup.task, examples, records), loss)


def _with_texts(
    run: RunModel,
    setup: Setup,
    examples: Sequence[Example],
    ranks: RankContext,
    entry: Entry | str | None,
    check: Callable[[], None],
    records: list[Record],
) -> list[Record]:
    """Records of examples, each with a text that was written where the task scores texts."""
    if not isinstance(setup.task, TextWriter) or not setup.task.scores_written:
        return records
    texts = _written(run, setup, setup.task, examples, ranks, entry, check)
    return [{**record, **text} for record, text in zip(records, texts, strict=True)]


def _written(
    run: RunModel,
    setup: Setup,
    task: TextWriter,
    examples: Sequence[Example],
    ranks: RankContext,
    entry: Entry | str | None,
    check: Callable[[], None],
) -> list[Record]:
    """One record an example of the likeliest tokens behind it."""
    decoding = Decoding(task.max_new_tokens)
    request = Request(task.answer_end(setup.tokenizer), decoding, synced=ranks.world > 1)

    def make(batch: Batch, _: list[Example]) -> list[Record]:
        written = run(entry=entry, writing=request, **batch.inputs)
        return [task.written(answer.tokens, setup.tokenizer) for answer in written]

    bare = [task.unanswered(example, setup.tokenizer) for example in examples]
    return over_batches(setup, bare, ranks, make, check=check)


def by_rows(task: Task, examples: Sequence[Example], records: Sequence[Record]) -> list[Record]:
    """One record a row, from those of its examples."""
    pairs = groupby(zip(examples, records, strict=True), key=lambda pair: pair[0].row)
    return [task.combine([record for _, record in group]) for _, group in pairs]
