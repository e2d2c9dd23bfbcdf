"""`Watch`: the thread, and what the main one asks of it."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from ptv2_scale.config import Watchdog
from ptv2_scale.config.values import seconds
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.runtime import heartbeat
from ptv2_scale.runtime import rank_output as output
from ptv2_scale.runtime.launch_context import Launch
from ptv2_scale.runtime.rank_env import rank_from_environment
from ptv2_scale.runtime.status import MOST_DETAIL, State, Status, write_status
from ptv2_scale.watch.coordinator import First
from ptv2_scale.watch.faults import FAILED, Fault, Kind, Roll
from ptv2_scale.watch.group import Alone, Group, Verdict
from ptv2_scale.watch.requests import (
    INTERRUPTED,
    SIGNALS,
    Requests,
    end_with_parent,
)
from ptv2_scale.watch.worker import Other

_TICK_S = 0.25


class Watch:
    """Watches this rank's requests and, once it has joined them, the other ranks.

    Args:
        graceful: take requests to stop; else they end this process as they end any.
    """

    def __init__(self, graceful: bool) -> None:
        self._graceful, self._began = graceful, time.monotonic()
        self._limit: float | None = None
        self._requests = Requests()
        self._selector = selectors.DefaultSelector()
        self._group: Group | None = None
        self._run: Path | None = None
        self._fault: Fault | None = None
        self._closing = False
        self._rank = rank_from_environment()
        self._launch = Launch.found()
        self._handlers: dict[int, Any] = {}
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def start(self) -> None:
        """Take signals over, and begin to watch; call it in the main thread."""
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
        self._selector.register(reading, selectors.EVENT_READ, lambda: self._hear(reading))
        # Told in C, so that the thread hears of signals while the main one waits for others.
        signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            self._handlers[number] = signal.signal(number, _ignore)

    def join(self, ranks: RankContext, limits: Watchdog, time_limit: str | None) -> None:
        """Watch the other ranks too; every rank calls it.

        Args:
            ranks: where this process stands.
            limits: when a rank counts as failed.
            time_limit: how long this process may run until it asks to stop; None: for ever.

        Raises:
            UserError: the first rank cannot be reached.
        """
        self._limit = None if time_limit is None else seconds(time_limit)
        roll = Roll(seconds(limits.silence), seconds(limits.stall), time.monotonic())
        if ranks.world == 1:
            self._group = Alone(roll, ranks)
        elif ranks.first:
            self._group = First(roll, ranks, self._selector)
        else:
            self._group = Other(roll, ranks, self._selector)

    def attach(self, run: Path) -> None:
        """Keep the status and the logs of a run from now on."""
        self._run = run
        output.keep(run / "logs")
        if self._rank == 0:
            self._write("running", None, "")

    @property
    def reason(self) -> str | None:
        """Why this rank is to stop at the next boundary; None: it is not."""
        return self._requests.reason

    @property
    def speaks(self) -> bool:
        """Whether this is the rank that tells people."""
        return self._rank == 0

    def fail(self, error: BaseException) -> NoReturn:
        """End this rank, and all others, for an exception of its own."""
        fault = Fault.of(self._rank, error)
        if self._group is None:
            # Every rank finds the user's mistakes, and one tells of them; of this no other knows.
            text = fault.text if self._rank == 0 or fault.kind is not Kind.MISTAKE else ""
            self._end(Verdict(fault.code, text, fault.text, self._rank))
        self._fault = fault
        self._thread.join()
        os._exit(fault.code)

    def end(self, state: State, code: int, reason: str = "") -> None:
        """Stop watching, for this rank ends as it should."""
        self._closing = True
        self._thread.join()
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._run is not None and self._rank == 0:
            self._write(state, code, reason)
        self._leave(code)

    def _watch(self) -> None:
        try:
            while not self._closing:
                for key, _ in self._selector.select(_TICK_S):
                    key.data()
                self._tick(time.monotonic())
            if self._group is not None:
                self._group.leave()
        except Verdict as verdict:
            self._end(verdict)
        except Exception as error:
            # Without its watch a rank could hang unseen.
            fault = Fault.of(self._rank, error)
            self._end(Verdict(FAILED, fault.text, "the watch failed", self._rank))

    def _tick(self, now: float) -> None:
        if self._limit is not None and now - self._began > self._limit:
            self._requests.ask("the time limit", now)
        if self._launch is not None and not self._launch.launcher.alive():
            self._requests.ask("its launcher has ended", now)
        if self._group is None:
            return
        if self._fault is not None:
            self._group.blame(self._fault)
            self._fault = None
        self._group.tick(now)

    def _hear(self, reading: socket.socket) -> None:
        for number in reading.recv(64):
            if number in SIGNALS and self._requests.hear(number, time.monotonic()):
                raise Verdict(INTERRUPTED, "stopped at once by a second SIGINT", "SIGINT")

    def _end(self, verdict: Verdict) -> NoReturn:
        if verdict.text:
            # On a line of its own, behind a progress bar.
            sys.stderr.write(f"\nptv2-scale: {verdict.text}\n")
            sys.stderr.flush()
        if self._run is not None and verdict.status:
            self._write("failed", verdict.code, verdict.status, verdict.rank)
        self._leave(verdict.code)
        output.finish()
        os._exit(verdict.code)

    def _leave(self, code: int) -> None:
        if self._launch is not None:
            self._launch.leave(self._rank, code)

    def _write(self, state: State, code: int | None, reason: str, rank: int | None = None) -> None:
        assert self._run is not None
        first, _, detail = reason.partition("\n")
        step = heartbeat.current().step
        launch = None if self._launch is None else self._launch.name
        write_status(
            self._run, Status(state, code, step, first, detail[-MOST_DETAIL:], rank, launch)
        )


def _ignore(number: int, frame: object) -> None:
    """The thread hears of signals by itself; Python's own handlers must not act."""
