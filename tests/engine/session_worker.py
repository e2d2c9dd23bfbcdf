"""One rank of two that goes through a session in which rank 1 fails: where, is the argument.

Rank 0 would wait in a collective for it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from ptv2_scale.config import RunConfig, load_recipe
from ptv2_scale.demo import RECIPE
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine import join
from ptv2_scale.engine.session import run_distributed
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.watch.thread import ThreadWatch

WHERE = sys.argv[1]


def fail_at(place: str) -> None:
    if WHERE.startswith(place) and os.environ["RANK"] == "1":
        if WHERE.endswith("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        raise UserError(f"planted in {WHERE}") if "mistake" in WHERE else OSError("planted")


def load() -> tuple[RunConfig, None]:
    fail_at("load")
    return load_recipe(RECIPE), None


def prepare(config: RunConfig, _: None, ranks: RankContext) -> Path:
    fail_at("prepare")
    return RECIPE


def act(ranks: RankContext, prepared: Path) -> None:
    torch.distributed.barrier()
    print("acted", flush=True)


def extensions() -> None:
    fail_at("join")


if __name__ == "__main__":
    join.prepare_extensions = extensions  # type: ignore[assignment]
    run_distributed(load, prepare, act, ThreadWatch(graceful=False))
