"""From a process to a rank of a run and out again, whatever happens in between.

Exit codes: 0 done, 2 a mistake of the user's, 3 a rank or host failed, 75 stopped by a request with
everything saved. Where there are several ranks, the one that fails is told of once and all end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import TypeVar

from ptv2_scale.config import RunConfig, Watchdog
from ptv2_scale.config.values import seconds
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine import join
from ptv2_scale.runtime import heartbeat
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.rank_env import world_from_environment
from ptv2_scale.watch.faults import FAILED, REFUSED
from ptv2_scale.watch.requests import Stopped
from ptv2_scale.watch.thread import Watch

SAVED = 75  # EX_TEMPFAIL: run me again

T = TypeVar("T")
Prepare = Callable[[], tuple[RunConfig, T]]
Action = Callable[[RankContext, T, Watch], None]


def run_distributed(prepare: Prepare[T], action: Action[T], *, graceful: bool = False) -> int:
    """Become one of a run's ranks, act, and leave.

    Args:
        prepare: what each rank does by itself before it joins the others; gives the recipe too.
        action: what they do together.
        graceful: whether requests to stop are taken at the next boundary of steps.

    Returns:
        The exit code.

    Raises:
        UserError: in a run of one rank; with several, the process ends here with its code.
    """
    watch = Watch(graceful)
    watch.start()
    try:
        prepared: tuple[RunConfig, T] | UserError = _attempt(prepare)
        config = None if isinstance(prepared, UserError) else prepared[0]
        ranks = _join(watch, config)
        if isinstance(prepared, UserError):
            raise prepared
        action(ranks, prepared[1], watch)
    except Stopped as stop:
        return _stopped(watch, str(stop))
    except Exception as error:
        if world_from_environment() > 1:
            watch.fail(error)
        code = REFUSED if isinstance(error, UserError) else FAILED
        watch.end("failed", code, str(error))
        raise
    watch.end("done", 0)
    join.stop()
    return 0


def _attempt(prepare: Prepare[T]) -> tuple[RunConfig, T] | UserError:
    try:
        return prepare()
    except UserError as mistake:
        if world_from_environment() == 1:
            raise
        # The others have to be told: on their hosts all may be well.
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


def _stopped(watch: Watch, reason: str) -> int:
    watch.end("stopped", SAVED, reason)
    if watch.speaks:
        step = heartbeat.current().step
        what = f"after step {step}, with everything saved" if step else "before the first step"
        sys.stderr.write(f"ptv2-scale: stopped by {reason} {what}. Go on with --resume auto.\n")
    return SAVED
