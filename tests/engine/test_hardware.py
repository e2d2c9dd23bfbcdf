"""A run on CPUs says where cores are left idle, and what to set."""

from __future__ import annotations

import os

import pytest
import torch

from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine import hardware
from ptv2_scale.engine.hardware import idle_cores_note, slow_dtype_note
from ptv2_scale.runtime.matmul_rates import MatmulRates


@pytest.mark.parametrize(
    ("cores", "ranks", "threads", "wanted"),
    [
        (16, 2, 1, ["this run computes on 2 of 16 CPU cores; train.cpu_threads=8 would use more"]),
        (2, 2, 1, []),
        (3, 2, 1, []),  # one idle core cannot be shared out
        (4, 2, 2, []),
        (4, 1, 8, []),
    ],
)
def test_idle_cores_are_named_with_what_would_use_them(
    cores: int, ranks: int, threads: int, wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    cpu = RankContext(0, ranks, 0, ranks, torch.device("cpu"))
    assert idle_cores_note(cpu, threads) == wanted
    gpu = RankContext(0, ranks, 0, ranks, torch.device("cuda"))
    assert idle_cores_note(gpu, threads) == []


def test_a_number_format_that_is_slow_here_is_named_with_its_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = torch.device("cpu")
    slow = MatmulRates(bf16=8e8, fp32=7e10)
    monkeypatch.setattr(hardware, "measure_matmul_rates", lambda device: slow)
    (line,) = slow_dtype_note(cpu, "bf16")
    assert "bf16 computes at 0.8 GFLOP/s" in line
    assert slow_dtype_note(cpu, "fp32") == []
