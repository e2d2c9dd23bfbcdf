"""The learning rate of a step, as a pure function: resuming needs no scheduler state."""

from __future__ import annotations

import math

from ptv2_scale.config import Train


def learning_rate(train: Train, step: int, total: int, steps_per_epoch: int) -> float:
    """Learning rate of optimizer step `step` (from 0) of `total`.

    Linear warmup from lr / warmup steps, then constant, linear or cosine decay to 0 at `total`,
    or exponential decay by `train.decay` an epoch (as P-Tuning v2's tagging trainers do).
    """
    warmup = warmup_steps(train, total)
    if step < warmup:
        return train.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    if train.schedule == "linear":
        return train.lr * (1.0 - progress)
    if train.schedule == "cosine":
        return train.lr * 0.5 * (1.0 + math.cos(math.pi * progress))
    if train.schedule == "exponential":
        return train.lr * train.decay ** ((step - warmup) // steps_per_epoch)
    return train.lr


def warmup_steps(train: Train, total: int) -> int:
    """Steps of warmup: a share of all steps below 1, a count from 1 on."""
    return int(train.warmup * total) if train.warmup < 1 else int(train.warmup)
