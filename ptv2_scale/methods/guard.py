"""Checks that methods make on one batch, before training, to prove that they are in use."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ptv2_scale.methods.base import Inputs, RunModel
from ptv2_scale.runtime.errors import UserError


class MethodUnusedError(UserError):
    """The backbone did not use the method the way the family says it should."""


def weighted_sum(outputs: Tensor) -> Tensor:
    """A scalar on which every output has another weight, to be differentiated."""
    weights = torch.linspace(-1.0, 1.0, outputs.numel(), device=outputs.device)
    return (outputs.float().flatten() * weights).sum()


def check_finite(gradient: Tensor, what: str) -> None:
    """Refuse a gradient that is not finite.

    Raises:
        MethodUnusedError: it is not.
    """
    if not math.isfinite(float(gradient.float().sum())):
        raise MethodUnusedError(f"the gradient of the {what} is not finite.")


def check_effect(run: RunModel, inputs: Inputs, what: str, **used: Any) -> None:
    """Refuse a method without which the model computes the same; in `eval()` mode.

    Args:
        run: calls the model.
        inputs: a batch without targets.
        what: the method's name in the message.
        **used: the entry that uses the method, where it is not the model's own.

    Raises:
        MethodUnusedError: taking it out changes nothing.
    """
    with torch.no_grad():
        found = run(**used, **inputs).features
        without = run(entry=None, **inputs).features
    if torch.equal(found, without):
        raise MethodUnusedError(f"taking the {what} out changes nothing.")
