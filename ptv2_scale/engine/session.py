"""From a process to a rank of a run and out again, whatever happens in between."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import TypeVar

from ptv2_scale.config import RunConfig, Watchdog
from ptv2_scale.config.values import seconds
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine import join
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.rank_env import world_from_environment
from ptv2_scale.watch.base import Watch

T = TypeVar("T")
R = TypeVar("R")
Prepare = Callable[[], tuple[RunConfig, T]]
Action = Callable[[RankContext, T], R]


def run_distributed(prepare: Prepare[T], action: Action[T, R], watch: Watch) -> R:
    """Become one of a run's ranks, act, and leave.

    Args:
        prepare: what each rank does by itself before it joins the others; returns the recipe too.
        action: what the ranks do together.
        watch: what watches this process meanwhile.

    Returns:
        The result of `action` on this rank.

    Raises:
        UserError: in a run of one rank; with several ranks, the watch ends the process instead.
        Stopped: all ranks have agreed to stop; everything is saved.
    """
    try:
        with watch:
            prepared: tuple[RunConfig, T] | UserError = _attempt(prepare)
            config = None if isinstance(prepared, UserError) else prepared[0]
            ranks = _join(watch, config)
            if isinstance(prepared, UserError):
                raise prepared
            return action(ranks, prepared[1])
    finally:
        join.stop()


def _attempt(prepare: Prepare[T]) -> tuple[RunConfig, T] | UserError:
    try:
        return prepare()
    except UserError as mistake:
        if world_from_environment() == 1:
            raise
        # The others have to know: on their hosts all may be well.
        return mistake


def _join(watch: Watch, config: RunConfig | None) -> RankContext:
    limits = Watchdog() if config is None else config.watchdog
    # DeepSpeed prints as it starts; standard output is for results.
    with redirect_stdout(sys.stderr):
        threads = 1 if config is None else config.train.cpu_threads
        # Later than the watchdog, which tells more.
        ranks = join.start(threads, 2 * seconds(limits.stall) + 30)
    watch.join(ranks, limits, None if config is None else config.train.time_limit)
    return ranks
