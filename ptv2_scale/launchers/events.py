"""What a launch reports while it runs, and how it is asked to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ptv2_scale.launchers.result import LaunchResult

Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True)
class Rendered:
    """A dry run: what would run, and nothing of it was started.

    Attributes:
        text: commands or batch script, as the backend renders them.
        slots: ranks of each host.
    """

    text: str
    slots: tuple[int, ...] = ()


@dataclass(frozen=True)
class HostsChecked:
    """The hosts were checked before their ranks start.

    Attributes:
        exit_code: 0 where ranks can run; else nothing is started.
        text: what was found, for people.
    """

    exit_code: int
    text: str


@dataclass(frozen=True)
class RanksStarting:
    """The ranks of all hosts are started next; from now on a request to stop reaches them.

    Attributes:
        hosts: names of the hosts, the first rank's first.
        attempt: number of this start, from 0 on.
    """

    hosts: tuple[str, ...]
    attempt: int


@dataclass(frozen=True)
class OutputLine:
    """A line for people: what several ranks say alike comes once.

    Attributes:
        stream: which of its two outputs a rank wrote it to.
        text: the line, with its end.
    """

    stream: Stream
    text: str


@dataclass(frozen=True)
class HostWarning:
    """Something to know of a host: what it could not be asked for, what does not reach it.

    The launch goes on.

    Attributes:
        host: name of the host.
        text: what it is, and what came back.
    """

    host: str
    text: str


@dataclass(frozen=True)
class Restarting:
    """The run failed, and will be started again.

    Attributes:
        step: optimizer steps made.
        reason: why it failed, and where to read more.
        restart: number of this restart, from 1 on.
        allowed: restarts that the launch may make.
        seconds: time until the restart.
    """

    step: int
    reason: str
    restart: int
    allowed: int
    seconds: float


@dataclass(frozen=True)
class RunFailed:
    """The run failed, and will not be started again.

    Attributes:
        step: optimizer steps made.
        reason: why it failed, and where to read more.
        verdict: why it is not started again.
    """

    step: int
    reason: str
    verdict: str


@dataclass(frozen=True)
class JobSubmitted:
    """A batch job was handed over.

    Attributes:
        number: of the job.
        script: the batch script.
        log: file of the job's output.
    """

    number: str
    script: Path
    log: str


@dataclass(frozen=True)
class Finished:
    """The launch is over; the last event.

    Attributes:
        result: what `launch` returns.
    """

    result: LaunchResult


Event = (
    Rendered
    | HostsChecked
    | RanksStarting
    | OutputLine
    | HostWarning
    | Restarting
    | RunFailed
    | JobSubmitted
    | Finished
)
OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Nobody is interested in an event."""


@dataclass
class StopRequest:
    """A request to stop, made from a signal handler or another thread while a launch runs.

    Ranks save at the same step and end with 75; a second SIGINT ends them at once.
    """

    _signals: list[int] = field(default_factory=list)

    def __call__(self, number: int = signal.SIGTERM) -> None:
        """Ask the launch to pass a signal on to all its ranks."""
        self._signals.append(number)

    @property
    def signals(self) -> Sequence[int]:
        """Signals that were asked for, in order; more may come."""
        return self._signals


@dataclass(frozen=True)
class Control:
    """How a running launch is heard and told.

    Attributes:
        emit: called with each event, by the thread that called `launch`.
        stop: request to stop.
    """

    emit: OnEvent
    stop: StopRequest
