"""The training loop: a batch order, a schedule and dropout that follow from (seed, step) alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from ptv2_scale.config import Train
from ptv2_scale.data.collate import Example, Padding, by_part
from ptv2_scale.data.dealing import TokenBudget, deal, micro_steps_of
from ptv2_scale.data.order import Group, batch_counts, mixed_batches
from ptv2_scale.distributed.ranks import RankContext, sum_over_ranks
from ptv2_scale.engine.schedule import learning_rate
from ptv2_scale.engine.sharding import clear_gradients
from ptv2_scale.runtime.heartbeat import report_progress
from ptv2_scale.tasks.base import Task


@dataclass(frozen=True)
class BatchOrder:
    """Which examples each optimizer step sees, for the whole run.

    Attributes:
        lengths: tokens of every training example.
        train: the recipe's section.
        groups: of the examples; those of a batch are of one.
        trains: whether there is anything to train; else there are no steps.
    """

    lengths: tuple[int, ...]
    train: Train
    groups: tuple[Group, ...]
    trains: bool = True

    @cached_property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch, smaller batches included."""
        return sum(batch_counts(self.groups, self.train.global_batch))

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the run."""
        if not self.trains:
            return 0
        if self.train.steps is not None:
            return self.train.steps
        return (self.train.epochs or 1) * self.steps_per_epoch

    def batch(self, step: int) -> list[int]:
        """Example indices of optimizer step `step` (from 0)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        return _epoch(self.lengths, self.groups, self.train.global_batch, self.train.seed, epoch)[
            position
        ]

    def tokens(self, batch: Sequence[int]) -> int:
        """Tokens of some examples, without padding."""
        return sum(self.lengths[index] for index in batch)

    def epoch(self, step: int) -> float:
        """Passes over the data that so many optimizer steps are."""
        return round(step / self.steps_per_epoch, 4)


@lru_cache(maxsize=2)
def _epoch(
    lengths: tuple[int, ...], groups: tuple[Group, ...], global_batch: int, seed: int, epoch: int
) -> list[list[int]]:
    return mixed_batches(lengths, groups, global_batch, seed, epoch)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed dropout for one step of one rank, so that resuming needs no generator state."""
    mixed = (seed * 1_000_003 + step) * 65_537 + rank
    torch.manual_seed(mixed % (1 << 63))


@dataclass(frozen=True)
class StepResult:
    """One optimizer step.

    Attributes:
        step: number of steps made, this one included.
        loss: mean loss over the global batch.
        learning_rate: learning rate of this step.
        gradient_norm: norm of the whole gradient before clipping.
        seconds: wall-clock time of the step.
        examples: examples of the global batch.
        tokens: tokens of their texts, without padding.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    seconds: float
    examples: int
    tokens: int


@dataclass(frozen=True)
class StepOutcome:
    """What came of a step.

    Attributes:
        result: the step's figures.
        finite: whether loss and gradient were finite.
        changed: whether the optimizer has changed the weights.
        suspects: examples of this rank's micro-batches whose loss was not finite.
        stop: whether some rank has been asked to stop.
    """

    result: StepResult
    finite: bool
    changed: bool
    suspects: list[int]
    stop: bool


class Trainer:
    """Makes optimizer steps of one recipe on a DeepSpeed engine.

    Args:
        engine: DeepSpeed's, around a `PromptedModel`.
        task: gives the loss.
        examples: the training split; every rank has all of it.
        train: the recipe's section.
        padding: how batches are padded.
        ranks: where this process stands.
        weight: of a task among several in the sampling of batches, from its number of examples.
        front: tokens that the method puts in front of each sequence.
    """

    def __init__(
        self,
        engine: Any,
        task: Task,
        examples: Sequence[Example],
        train: Train,
        padding: Padding,
        ranks: RankContext,
        weight: Callable[[int], float] = float,
        front: int = 0,
    ) -> None:
        self._engine, self._task, self._examples = engine, task, examples
        self._train, self._padding, self._ranks = train, padding, ranks
        self._deal = _dealer(examples, train, front, ranks)
        lengths = tuple(example.length for example in examples)
        groups = tuple(Group(part, weight(len(part))) for part in by_part(examples))
        self.order = BatchOrder(lengths, train, groups, trains=bool(engine.module.trained()))

    def step(self, step: int, asked: bool) -> StepOutcome:
        """Make optimizer step `step` (from 0); every rank calls it.

        A loss that is not finite makes the gradient of all ranks so, and DeepSpeed then leaves
        weights and moments as they are.

        Args:
            step: number of the step.
            asked: this rank has been asked to stop; all learn of it with the loss.
        """
        began = time.perf_counter()
        if not self._engine.module.training:  # to walk all modules takes a while
            self._engine.train()
        if len(self.order.groups) > 1:
            clear_gradients(self._engine)
        seed_step(self._train.seed, step, self._ranks.rank)
        rate = self._set_learning_rate(step)
        batch = self.order.batch(step)
        count = self._count(batch)
        losses: list[Tensor] = []
        micros = self._deal(batch)
        for number, micro in enumerate(micros, start=1):
            report_progress(f"step {step + 1}")
            self._engine.set_gradient_accumulation_boundary(number == len(micros))
            losses.append(self._backward(micro, batch, count))
            self._engine.step()
        own = torch.stack(losses).float()
        reported = torch.stack((own.sum(), own.new_tensor(float(asked))))
        loss, stop = sum_over_ranks(reported).tolist()
        norm = float(self._engine.get_global_grad_norm() or 0.0)
        changed = self._engine.was_step_applied()
        finite = changed and math.isfinite(loss) and math.isfinite(norm)
        suspects = [] if finite else _suspects(micros, own.tolist())
        seconds = time.perf_counter() - began
        tokens = self.order.tokens(batch)
        result = StepResult(step + 1, loss / count, rate, norm, seconds, len(batch), tokens)
        return StepOutcome(result, finite, changed, suspects, stop > 0)

    def _set_learning_rate(self, step: int) -> float:
        total, epoch = self.order.total_steps, self.order.steps_per_epoch
        rate = learning_rate(self._train, step, total, epoch)
        for group in self._engine.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _count(self, batch: list[int]) -> int:
        return self._task.loss_count([self._examples[index] for index in batch])

    def _backward(self, micro: list[int], whole: list[int], count: int) -> Tensor:
        # Without rows of its own a rank runs one that counts nothing: all ranks must run alike.
        rows = [self._examples[index] for index in (micro or whole[:1])]
        batch = self._task.collate(rows, self._padding).to(self._ranks.device)
        output = self._engine(**batch.arguments)
        summed = self._task.loss_sum(output.outputs, batch.targets)
        if not micro:
            summed = summed * 0.0
        # DeepSpeed averages over ranks, and over the micro-steps that it was told of, which would
        # weigh unequal ones wrongly.
        scale = self._ranks.world * self._engine.gradient_accumulation_steps() / count
        self._engine.backward(summed * scale * _one_or_nan(summed))
        return summed.detach()


def _dealer(
    examples: Sequence[Example], train: Train, front: int, ranks: RankContext
) -> Callable[[Sequence[int]], list[list[int]]]:
    """What gives this rank's micro-batches of a global batch, as many on every rank."""
    rank, world, size = ranks.rank, ranks.world, train.examples
    if train.micro_batch_by == "tokens":
        return partial(TokenBudget.of(examples, front, size).deal, rank=rank, world=world)
    steps = micro_steps_of(train, world)
    return partial(deal, rank=rank, world=world, micro_batch=size, steps=steps)


def _one_or_nan(loss: Tensor) -> Tensor:
    """1 where a loss is finite; else NaN, for the gradient of such a loss may look sound."""
    return torch.where(loss.detach().isfinite(), 1.0, float("nan"))


def _suspects(micros: list[list[int]], losses: list[float]) -> list[int]:
    pairs = zip(micros, losses, strict=True)
    return [index for micro, loss in pairs if not math.isfinite(loss) for index in micro]
