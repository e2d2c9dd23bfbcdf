"""A run on CPUs says where cores are left idle, and what to set."""

from __future__ import annotations

import os

import pytest
import torch

from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine.hardware import idle_cores_note


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
