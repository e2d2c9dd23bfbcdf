"""A head trained alone on the same frozen backbone: what the prefix has to beat.

The backbone runs once over the data; the head is then trained on the features it gave, which is
the same as training it in place without dropout, and costs seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ptv2_scale.data.collate import Example
from ptv2_scale.distributed.leaders import on_first_rank
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine.evaluator import forward_all
from ptv2_scale.model.setup import Setup, build_head
from ptv2_scale.runtime.heartbeat import report_progress
from ptv2_scale.tasks.heads import Head

RATES = (1e-3, 3e-3, 1e-2, 3e-2)
EPOCHS = 60
BATCH = 64


def score_head_alone(
    engine: Any,
    setup: Setup,
    train: Sequence[Example],
    validation: Sequence[Example],
    ranks: RankContext,
    check: Callable[[], None],
) -> float:
    """The task's metric of a head trained without a prefix; every rank calls it.

    Args:
        engine: DeepSpeed's, whose prefix is taken out.
        setup: the recipe, opened.
        train: what the head learns from.
        validation: what it is scored on.
        ranks: where this process stands.
        check: called now and then, on all ranks alike; may raise to end it early.
    """

    def features(split: Sequence[Example]) -> Tensor:
        return forward_all(engine, setup, split, ranks, prefix=None, field="features", check=check)

    known, unknown = features(train), features(validation)
    labels = torch.tensor([example.label for example in train])

    def score(head: Head) -> float:
        with torch.no_grad():
            return setup.task.score(head.forward_features(unknown), validation)

    def action() -> float:
        loss_sum, seed = setup.task.loss_sum, setup.config.train.seed
        return train_head(lambda: build_head(setup), loss_sum, known, labels, score, seed)

    return on_first_rank(ranks, action)


def train_head(
    make_head: Callable[[], Head],
    loss_sum: Callable[[Tensor, Tensor], Tensor],
    features: Tensor,
    labels: Tensor,
    score: Callable[[Head], float],
    seed: int,
) -> float:
    """Best score of a head trained on features, over a small grid of learning rates and epochs.

    Args:
        make_head: a fresh head.
        loss_sum: (logits, labels) -> summed loss.
        features: [examples, width], fp32.
        labels: [examples].
        score: metric of a head on the evaluated split.
        seed: of the order of batches.

    Returns:
        The best of all epochs and rates, so a generous baseline.
    """
    with torch.random.fork_rng(devices=[]):
        return max(
            _best_epoch(make_head(), loss_sum, features, labels, score, seed, rate)
            for rate in RATES
        )


def _best_epoch(
    head: Head,
    loss_sum: Callable[[Tensor, Tensor], Tensor],
    features: Tensor,
    labels: Tensor,
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
        for rows in torch.randperm(len(labels), generator=generator).split(BATCH):
            loss = loss_sum(head.forward_features(features[rows]), labels[rows]) / len(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        head.eval()
        best = max(best, score(head))
    return best
