"""A head trained alone on the same frozen backbone: what the method has to beat.

The backbone runs once over the data; the head is then trained on the features it gave, which is
the same as training it in place without dropout, and costs seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from ptv2_scale.data.collate import Batch, Example, by_example
from ptv2_scale.distributed.leaders import on_first_rank, run_on
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.inference.forward import answer_all, by_rows, forward_all
from ptv2_scale.model.prompted import PromptedOutput
from ptv2_scale.model.setup import EncodedSplit, Setup, build_head
from ptv2_scale.runtime.heartbeat import report_progress
from ptv2_scale.tasks.base import Task
from ptv2_scale.tasks.heads import Head
from ptv2_scale.tasks.multi import rows_of, single_tasks

RATES = (1e-3, 3e-3, 1e-2, 3e-2)
EPOCHS = 60
BATCH = 64


@dataclass(frozen=True)
class ExampleFeatures:
    """Examples with what the head reads of the backbone for each.

    Attributes:
        examples: of a split.
        features: of each example's sequences, fp32, on the CPU.
    """

    examples: Sequence[Example]
    features: Sequence[Sequence[Tensor]]

    def joined(self, head: Head, chosen: Sequence[int]) -> Tensor:
        """The features of a batch of some of the examples."""
        return head.join([one for index in chosen for one in self.features[index]])

    def of(self, part: str | None) -> ExampleFeatures:
        """Those of one of several tasks."""
        pairs = zip(self.examples, self.features, strict=True)
        own = [pair for pair in pairs if pair[0].part == part]
        return ExampleFeatures([one for one, _ in own], [one for _, one in own])


def score_head_alone(
    engine: Any,
    setup: Setup,
    train: EncodedSplit,
    validation: EncodedSplit,
    ranks: RankContext,
    check: Callable[[], None],
) -> float:
    """The task's metric of a head trained without the method; every rank calls it.

    Args:
        engine: DeepSpeed's, whose method is left out.
        setup: the recipe, opened.
        train: what the head learns from.
        validation: what it is scored on.
        ranks: where this process stands.
        check: called now and then, on all ranks alike; may raise to end it early.
    """
    head = engine.module.head

    def split(output: PromptedOutput, batch: Batch, examples: list[Example]) -> list[list[Tensor]]:
        own = head.of(examples[0].part)
        found = own.split(output.features, batch.inputs["attention_mask"])
        return by_example([one.clone() for one in found], examples)

    def features(examples: Sequence[Example]) -> ExampleFeatures:
        found = forward_all(engine, setup, examples, ranks, split, entry=None, check=check)
        return ExampleFeatures(examples, found)

    if not any(one.requires_grad for one in head.parameters()):  # a verbalizer, as it is
        records = answer_all(engine, setup, validation.examples, ranks, check, entry=None)
        return on_first_rank(
            ranks, lambda: setup.task.score(records, validation.rows)[setup.task.metric]
        )
    known, unknown = features(train.examples), features(validation.examples)

    def score(rates: Sequence[float]) -> list[float]:
        return [
            _score_one(setup, name, task, known.of(name), unknown.of(name), validation, rates)
            for name, task in single_tasks(setup.task).items()
        ]

    return mean(best_over_ranks(score, ranks))


def best_over_ranks(
    score: Callable[[Sequence[float]], list[float]], ranks: RankContext
) -> list[float]:
    """Best score of each task over all learning rates, of which each rank tries some.

    Args:
        score: best score of each task over some of the rates.
        ranks: where this process stands; every rank calls it.
    """
    own = RATES[ranks.rank :: ranks.world]
    found = run_on(partial(score, own) if own else None, ranks)
    tried = [scores for scores in found if scores is not None]
    return [max(scores[task] for scores in tried) for task in range(len(tried[0]))]


def _score_one(
    setup: Setup,
    name: str | None,
    task: Task,
    known: ExampleFeatures,
    unknown: ExampleFeatures,
    validation: EncodedSplit,
    rates: Sequence[float],
) -> float:
    rows = rows_of(validation.rows, name)

    def score(trained: Head) -> float:
        with torch.no_grad():
            every = range(len(unknown.examples))
            outputs = trained.forward_features(unknown.joined(trained, every))
        records = task.decode(outputs, list(unknown.examples))
        return task.score(by_rows(task, unknown.examples, records), rows)[task.metric]

    seed = setup.config.train.seed
    return train_head(lambda: build_head(setup).of(name), task, known, score, seed, rates)


def train_head(
    make_head: Callable[[], Head],
    task: Task,
    known: ExampleFeatures,
    score: Callable[[Head], float],
    seed: int,
    rates: Sequence[float] = RATES,
) -> float:
    """Best score of a head trained on features, over some learning rates and all epochs.

    Args:
        make_head: a fresh head.
        task: gives the loss.
        known: what it learns from.
        score: metric of a head on the evaluated split.
        seed: of the order of batches.
        rates: learning rates that are tried.

    Returns:
        The best of all epochs and rates, so a generous baseline.
    """
    with torch.random.fork_rng(devices=[]):
        return max(_best_epoch(make_head(), task, known, score, seed, rate) for rate in rates)


def _best_epoch(
    head: Head,
    task: Task,
    known: ExampleFeatures,
    score: Callable[[Head], float],
    seed: int,
    rate: float,
) -> float:
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.0)
    torch.manual_seed(seed)  # of a head's own dropout
    generator = torch.Generator().manual_seed(seed)
    best = float("-inf")
    for _ in range(EPOCHS):
        report_progress("training a head alone")
        head.train()
        for rows in torch.randperm(len(known.examples), generator=generator).split(BATCH):
            loss = _loss(head, task, known, rows.tolist())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        head.eval()
        best = max(best, score(head))
    return best


def _loss(head: Head, task: Task, known: ExampleFeatures, rows: list[int]) -> Tensor:
    examples = [known.examples[row] for row in rows]
    outputs = head.forward_features(known.joined(head, rows))
    summed = task.loss_sum(outputs, task.targets(examples))
    return summed / task.loss_count(examples)
