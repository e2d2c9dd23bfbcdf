"""From a process to a rank of a run and out again, whatever happens in between."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import TypeVar

from ptv2_scale.config import RunConfig
from ptv2_scale.config.values import seconds
from ptv2_scale.distributed.accelerator import accelerator_here
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine import join
from ptv2_scale.runtime.rank_env import world_from_environment
from ptv2_scale.watch.base import Watch

F = TypeVar("F")
T = TypeVar("T")
R = TypeVar("R")
Load = Callable[[], tuple[RunConfig, F]]
Prepare = Callable[[RunConfig, F, RankContext], T]
Action = Callable[[RankContext, T], R]


def run_distributed(load: Load[F], prepare: Prepare[F, T], action: Action[T, R], watch: Watch) -> R:
    """Become one of a run's ranks, act, and leave.

    Ranks meet as soon as they have their recipe: whatever goes wrong on one from then on ends all
    others, whose own files may be well.

    Args:
        load: finds the recipe, and what else `prepare` is to have.
        prepare: what each rank does by itself: opening files; of one rank alone, before it joins.
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
            if world_from_environment() == 1:
                config, found = load()
                alone = RankContext.alone(accelerator_here())
                # Before DeepSpeed starts, which takes seconds.
                prepared = prepare(config, found, alone)
                return action(_join(watch, config), prepared)
            loaded = _attempt(load)
            if isinstance(loaded, Exception):
                join.refuse(loaded)
            config, found = loaded
            ranks = _join(watch, config)
            return action(ranks, prepare(config, found, ranks))
    finally:
        join.stop()


def _attempt(load: Load[F]) -> tuple[RunConfig, F] | Exception:
    try:
        return load()
    except Exception as failure:
        return failure


def _join(watch: Watch, config: RunConfig) -> RankContext:
    # DeepSpeed prints as it starts; standard output is for results.
    with redirect_stdout(sys.stderr):
        # Later than the watchdog, which tells more.
        ranks = join.start(config.train.cpu_threads, 2 * seconds(config.watchdog.stall) + 30)
    watch.join(ranks, config.watchdog, config.train.time_limit)
    return ranks
