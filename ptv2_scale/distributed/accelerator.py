"""The kind of device that this process computes on."""

from __future__ import annotations

import os

import torch


def choose_accelerator() -> None:
    """Set DeepSpeed to the CPU where there is no accelerator; before DeepSpeed is imported.

    It would find that out by itself, with a warning on every rank.
    """
    if not torch.accelerator.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
