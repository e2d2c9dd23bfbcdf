"""What a step gathers anew; what layers gather is counted in estimate/test_traffic.py."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from ptv2_scale.engine.gathers import gather_trained_after_steps


def test_a_step_gathers_anew_what_is_trained_alone() -> None:
    frozen, trained = (nn.Parameter(torch.ones(2), requires_grad=on) for on in (False, True))
    optimizer = SimpleNamespace(persistent_parameters=[frozen, trained])
    gather_trained_after_steps(SimpleNamespace(optimizer=optimizer))
    (kept,) = optimizer.persistent_parameters
    assert kept is trained
