"""`Watch`: what a run asks of whatever watches its process, and the status it leaves behind."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from ptv2_scale.config import Watchdog
from ptv2_scale.config.values import seconds
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.runtime import heartbeat
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.exit_codes import DONE, FAILED, INTERRUPTED, INVALID_INPUT
from ptv2_scale.runtime.status import MOST_DETAIL, State, Status, write_status
from ptv2_scale.watch.requests import NoProgress, Requests, Stopped


class Watch(ABC):
    """Watches one process of a run for as long as its `with` block lasts.

    Args:
        rank: this process's rank.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._run: Path | None = None
        self._on_refusal: Callable[[], None] | None = None
        self._limit: float | None = None
        self._requests = Requests()

    def __enter__(self) -> Watch:
        heartbeat.reset()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if isinstance(error, NoProgress):
            self.end("failed", error.code, str(error))
        elif isinstance(error, Stopped):
            self.end("stopped", error.code, error.reason)
        elif error is not None:
            self.fail(error)
        else:
            self.end("done", DONE)

    @abstractmethod
    def start(self) -> None:
        """Begin to watch."""

    @abstractmethod
    def end(self, state: State, code: int, reason: str = "") -> None:
        """Stop watching, write the run's last status, and give back what `start` took.

        Args:
            state: how the run ended.
            code: the exit code it stands for.
            reason: why it stopped or failed.
        """

    def join(self, ranks: RankContext, limits: Watchdog, time_limit: str | None) -> None:
        """Begin to watch the other ranks too; every rank calls it.

        Args:
            ranks: where this process stands.
            limits: when a rank counts as failed.
            time_limit: how long this process may run until it asks to stop; None: for ever.

        Raises:
            UserError: the first rank cannot be reached.
        """
        self._limit = None if time_limit is None else seconds(time_limit)

    def attach(self, run: Path, on_refusal: Callable[[], None]) -> None:
        """Begin to write the status of a run.

        Args:
            run: the run directory, which exists.
            on_refusal: is called where all ranks end because the input is wrong, perhaps in another
                thread.
        """
        self._run, self._on_refusal = run, on_refusal
        if self._rank == 0:
            self._write("running", None)

    @property
    def reason(self) -> str | None:
        """Why this rank is to stop at the next boundary of steps; None: it is not."""
        return self._requests.reason

    def fail(self, error: BaseException) -> None:
        """End the watch for an exception of this rank's own.

        Args:
            error: what was raised.
        """
        code = INVALID_INPUT if isinstance(error, UserError) else FAILED
        code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else code
        self.end("failed", code, str(error) if isinstance(error, UserError) else _last_line(error))

    def _write(
        self, state: State, code: int | None, reason: str = "", rank: int | None = None
    ) -> None:
        """Replace `RUN/status.json`, if there is a run directory yet."""
        if self._run is None:
            return
        first, _, detail = reason.partition("\n")
        step, launch = heartbeat.current().step, self._launch_name()
        write_status(
            self._run, Status(state, code, step, first, detail[-MOST_DETAIL:], rank, launch)
        )

    def _withdraw(self, code: int) -> None:
        """Undo what there is of a run whose input is wrong."""
        if code == INVALID_INPUT and self._on_refusal is not None:
            self._on_refusal()

    def _launch_name(self) -> str | None:
        """The start of all ranks that this process belongs to; None: of no launcher of ours."""
        return None


def _last_line(error: BaseException) -> str:
    """What a traceback ends with: the kind of an error, and its message."""
    return "".join(traceback.format_exception_only(error)).rstrip()
