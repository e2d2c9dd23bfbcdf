"""The loop that pre-trains: AdamW, warm-up and a cosine, short reports first."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from ptv2_scale.demo.architectures import Architecture
from ptv2_scale.demo.language import MOST_ASPECTS
from ptv2_scale.demo.objectives import Batch, Objective, verdict_accuracy

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How long and how fast a pre-training run is; the defaults made the committed backbone."""

    seed: int = 7
    threads: int = 1
    steps: int = 1000
    short_steps: int = 400
    aspects_while_short: int = 2
    batch_size: int = 64
    warmup_steps: int = 100
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    log_every: int = 20
    probe_documents: int = 1000


@dataclass(frozen=True)
class LossPoint:
    """The mean loss of the steps since the last point, and the seconds since the start."""

    step: int
    loss: float
    seconds: float


def build_optimizer(model: Any, architecture: Architecture, settings: Settings) -> AdamW:
    """AdamW with the architecture's rate for each parameter."""
    groups = [{"params": [p], "lr": architecture.rate(p)} for p in model.parameters()]
    return AdamW(groups, betas=(0.9, 0.98), weight_decay=settings.weight_decay)


def learning_rate_factor(step: int, settings: Settings) -> float:
    """Linear warm-up, then a cosine down to zero at the last step."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / (settings.steps - settings.warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * done))


def train(
    model: Any,
    ids: Mapping[str, int],
    architecture: Architecture,
    objective: Objective,
    settings: Settings,
) -> list[LossPoint]:
    """Train `model` in place and return its loss curve."""
    rng = Random(settings.seed)
    optimizer = build_optimizer(model, architecture, settings)
    schedule = LambdaLR(optimizer, lambda step: learning_rate_factor(step, settings))
    curve: list[LossPoint] = []
    recent: list[float] = []
    start = time.perf_counter()
    model.train()
    for step in range(1, settings.steps + 1):
        most = settings.aspects_while_short if step <= settings.short_steps else MOST_ASPECTS
        loss = _outputs(model, objective.batch(rng, ids, most, settings.batch_size)).loss
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), settings.max_gradient_norm)
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if step % settings.log_every == 0 or step == settings.steps:
            seconds = time.perf_counter() - start
            curve.append(LossPoint(step, sum(recent) / len(recent), seconds))
            recent.clear()
            LOG.info("step %d  loss %.4f  %.0f s", step, curve[-1].loss, seconds)
    return curve


@torch.no_grad()
def measure_verdict_accuracy(
    model: Any, ids: Mapping[str, int], objective: Objective, settings: Settings
) -> float:
    """The share of the verdict words that the model gets right in fresh documents."""
    rng = Random(settings.seed + 1)
    batch = objective.batch(rng, ids, MOST_ASPECTS, settings.probe_documents)
    model.eval()
    logits: Tensor = _outputs(model, batch).logits
    return verdict_accuracy(objective, logits, batch.labels, ids)


def _outputs(model: Any, batch: Batch) -> Any:
    return model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
    )
