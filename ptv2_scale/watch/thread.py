"""`ThreadWatch`: a thread that watches one rank of a run, in a process that is that rank alone."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from ptv2_scale.config import Watchdog
from ptv2_scale.config.values import seconds
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.runtime import rank_output as output
from ptv2_scale.runtime.exit_codes import FAILED, INTERRUPTED
from ptv2_scale.runtime.launch_context import Launch, host_name
from ptv2_scale.runtime.rank_env import rank_from_environment, world_from_environment
from ptv2_scale.runtime.status import State
from ptv2_scale.watch.base import Watch
from ptv2_scale.watch.coordinator import Coordinator
from ptv2_scale.watch.faults import FailedElsewhere, Fault, Membership
from ptv2_scale.watch.rank_watch import RankWatch, RunEnded, SingleRank
from ptv2_scale.watch.requests import SIGNALS, TIME_LIMIT, end_with_parent
from ptv2_scale.watch.worker import Worker

_TICK_S = 0.25


class ThreadWatch(Watch):
    """Watches this rank's requests and, once it has joined them, the other ranks.

    A fault of any rank ends this process, whatever its main thread is waiting for.

    Args:
        graceful: take requests to stop; else they end this process as they end any.
    """

    def __init__(self, graceful: bool) -> None:
        super().__init__(rank_from_environment())
        self._graceful, self._began = graceful, time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._rank_watch: RankWatch | None = None
        self._fault: Fault | None = None
        self._closing = False
        self._launch = Launch.found()
        self._handlers: dict[int, Any] = {}
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def start(self) -> None:
        """Take signals over, and begin to watch; the main thread calls it."""
        if self._graceful:
            self._take_signals()
        else:
            self._handlers[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_DFL)
        if "RANK" in os.environ:
            end_with_parent()
        if self._launch is not None:
            self._launch.register(self._rank)
        self._thread.start()

    def _take_signals(self) -> None:
        reading, self._writing = socket.socketpair()
        for end in (reading, self._writing):
            end.setblocking(False)
        self._selector.register(reading, selectors.EVENT_READ, lambda: self._read_signals(reading))
        # Written in C, so that signals reach the thread while the main one waits for others.
        signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            self._handlers[number] = signal.signal(number, _ignore)

    def join(self, ranks: RankContext, limits: Watchdog, time_limit: str | None) -> None:
        """See `Watch.join`."""
        super().join(ranks, limits, time_limit)
        members = Membership(seconds(limits.silence), seconds(limits.stall), time.monotonic())
        if ranks.world == 1:
            self._rank_watch = SingleRank(members, ranks)
        elif ranks.first:
            self._rank_watch = Coordinator(members, ranks, self._selector)
        else:
            self._rank_watch = Worker(members, ranks, self._selector)

    def attach(self, run: Path, on_refusal: Callable[[], None]) -> None:
        """Begin to write the status of a run, and this rank's log; see `Watch.attach`."""
        output.open_log(run / "logs")
        super().attach(run, on_refusal)

    def fail(self, error: BaseException) -> None:
        """End this rank, and all others, for an exception of its own; see `Watch.fail`."""
        if world_from_environment() == 1:
            super().fail(error)
            return
        if isinstance(error, FailedElsewhere):
            self._exit(RunEnded(error.code, None, ""))
        fault = Fault.of(self._rank, error)
        if self._rank_watch is None:
            who = f"rank {self._rank} on {host_name()}: " if self._rank else ""
            self._exit(RunEnded(fault.code, who + fault.text, fault.text, self._rank))
        self._fault = fault
        self._thread.join()
        os._exit(fault.code)

    def end(self, state: State, code: int, reason: str = "") -> None:
        """Stop watching, for this rank ends as it should; see `Watch.end`."""
        self._closing = True
        self._thread.join()
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._rank == 0:
            self._write(state, code, reason)
        self._withdraw(code)
        self._leave(code)

    def _watch(self) -> None:
        try:
            while not self._closing:
                for key, _ in self._selector.select(_TICK_S):
                    key.data()
                self._tick(time.monotonic())
            if self._rank_watch is not None:
                self._rank_watch.leave()
        except RunEnded as ended:
            self._exit(ended)
        except Exception as error:
            # Without its watch a rank could hang unseen.
            fault = Fault.of(self._rank, error)
            self._exit(RunEnded(FAILED, fault.text, "the watch failed", self._rank))

    def _tick(self, now: float) -> None:
        if self._limit is not None and now - self._began > self._limit:
            self._requests.ask(TIME_LIMIT, now)
        if self._launch is not None and not self._launch.launcher.alive():
            self._requests.ask("its launcher has ended", now)
        if self._rank_watch is None:
            return
        if self._fault is not None:
            self._rank_watch.report_fault(self._fault)
            self._fault = None
        self._rank_watch.tick(now)

    def _read_signals(self, reading: socket.socket) -> None:
        for number in reading.recv(64):
            if number in SIGNALS and self._requests.take_signal(number, time.monotonic()):
                raise RunEnded(INTERRUPTED, "stopped at once by a second SIGINT", "SIGINT")

    def _exit(self, ended: RunEnded) -> NoReturn:
        if ended.text:
            # On a line of its own, behind a progress bar.
            sys.stderr.write(f"\nptv2-scale: {ended.text}\n")
            sys.stderr.flush()
        if ended.status:
            self._write("failed", ended.code, ended.status, ended.rank)
        self._withdraw(ended.code)
        self._leave(ended.code)
        output.restore()
        os._exit(ended.code)

    def _leave(self, code: int) -> None:
        if self._launch is not None:
            self._launch.leave(self._rank, code)

    def _launch_name(self) -> str | None:
        return None if self._launch is None else self._launch.name


def _ignore(number: int, frame: object) -> None:
    """The thread receives signals by itself; Python's own handlers must not act."""
