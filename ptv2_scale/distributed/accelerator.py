"""The kind of device that this process computes on."""

from __future__ import annotations

import os

import torch

_CHOICE = "DS_ACCELERATOR"


def choose_accelerator() -> None:
    """Set DeepSpeed to the CPU where there is no accelerator; before DeepSpeed is imported.

    It would find that out by itself, with a warning on every rank.
    """
    if not torch.accelerator.is_available():
        os.environ.setdefault(_CHOICE, "cpu")


def accelerator_here() -> torch.device:
    """The kind of device on which a rank of this machine computes."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return torch.device("cpu") if found is None or os.environ.get(_CHOICE) == "cpu" else found
