"""Modules without memory for their parameters."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch import nn

from ptv2_scale.backbones.empty import empty_parameters


def test_threads_leave_modules_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one begins before the first has ended, and ends after it."""
    # Put back what it is now, if it is not.
    monkeypatch.setattr(nn.Module, "register_parameter", nn.Module.register_parameter)

    def make(number: int) -> str:
        time.sleep(0.02 * number)
        with empty_parameters():
            time.sleep(0.05)
            return nn.Linear(2, 2).weight.device.type

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(make, range(2))) == ["meta"] * 2
    assert nn.Linear(2, 2).weight.device.type == "cpu"


def test_one_may_stand_inside_another() -> None:
    with empty_parameters():
        with empty_parameters():
            inner = nn.Linear(2, 2)
        outer = nn.Linear(2, 2)
    assert {inner.weight.device.type, outer.weight.device.type} == {"meta"}
    assert nn.Linear(2, 2).weight.device.type == "cpu"
