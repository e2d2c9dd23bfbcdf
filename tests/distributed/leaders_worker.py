"""One rank: outcomes of actions that some ranks take."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed

from ptv2_scale.distributed.leaders import on_first_rank, run_on, share_outcomes
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.runtime.errors import UserError

torch.distributed.init_process_group("gloo")
RANK = torch.distributed.get_rank()
RANKS = RankContext(RANK, torch.distributed.get_world_size(), RANK, 3, torch.device("cpu"))


def refuse(text: str) -> None:
    raise UserError(text)


def fill() -> str:
    if RANK == 1:
        raise OSError("full")
    return "written"


def said(action: Callable[[], Any]) -> str:
    try:
        action()
    except UserError as error:
        return str(error)
    return "nothing"


found = {
    "first": on_first_rank(RANKS, lambda: 7),
    "first refuses": said(lambda: on_first_rank(RANKS, lambda: refuse("no seven"))),
    "first two": run_on((lambda: RANK) if RANK < 2 else None, RANKS),
    "second refuses": said(
        lambda: run_on(
            (lambda: refuse("of 2")) if RANK else None, RANKS, lambda e: f"rank {RANK}: {e}"
        )
    ),
    "disk": [
        outcome.problem
        for outcome in share_outcomes(fill, RANKS, OSError, lambda error: f"{error} on {RANK}")
    ],
}
print("FOUND", json.dumps(found), flush=True)
