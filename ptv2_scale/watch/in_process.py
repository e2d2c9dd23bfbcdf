"""The watch of a run inside a program that goes on afterwards, such as a notebook."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

from ptv2_scale.runtime.status import State
from ptv2_scale.watch.base import Watch
from ptv2_scale.watch.requests import TIME_LIMIT


class InProcessWatch(Watch):
    """Watches a run of one rank, without a thread, and never ends the process.

    In the main thread the first SIGINT asks the run to stop at the next boundary of steps; a second
    one is Python's own KeyboardInterrupt. In any other thread, and for any other signal, the
    program's own handlers stay: Python gives signals to the main thread alone.
    """

    def __init__(self) -> None:
        super().__init__(rank=0)
        self._began = time.monotonic()
        self._handler: Any = None

    def start(self) -> None:
        """Take SIGINT over, where this thread may."""
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGINT, self._interrupt)

    def end(self, state: State, code: int, reason: str = "") -> None:
        """See `Watch.end`."""
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
        self._write(state, code, reason)
        self._withdraw(code)

    @property
    def reason(self) -> str | None:
        """See `Watch.reason`."""
        now = time.monotonic()
        if self._limit is not None and now - self._began > self._limit:
            self._requests.ask(TIME_LIMIT, now)
        return super().reason

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.reason is not None:
            signal.default_int_handler(number, frame)
        self._requests.ask(signal.Signals(number).name, time.monotonic())
