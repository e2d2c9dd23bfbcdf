"""A launch on the terminal: its events are printed, and signals ask it to stop."""

from __future__ import annotations

import signal
import sys
from collections import deque
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any

from ptv2_scale.launchers.events import (
    Event,
    HostsChecked,
    HostWarning,
    JobSubmitted,
    OutputLine,
    RanksStarting,
    Rendered,
    Restarting,
    RunFailed,
    StopRequest,
)
from ptv2_scale.launchers.node_agent import FORWARDED

_RECENT = 40  # lines of ranks' output


@dataclass
class LaunchPrinter:
    """Prints events; while ranks run, signals to this process go to them.

    Attributes:
        stop: what signals ask of the launch.
    """

    stop: StopRequest = field(default_factory=StopRequest)
    _before: dict[int, Any] = field(default_factory=dict)
    _shown: deque[str] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def __enter__(self) -> LaunchPrinter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            # None: of C code, which Python cannot set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def __call__(self, event: Event) -> None:
        """Print an event."""
        if isinstance(event, RanksStarting):
            self._take_signals()
        elif isinstance(event, OutputLine):
            stream = sys.stdout if event.stream == "stdout" else sys.stderr
            stream.write(event.text)
            stream.flush()
            self._shown.append(event.text)
        elif isinstance(event, HostsChecked):
            sys.stderr.write(f"{event.text}\n")
            sys.stderr.flush()
        elif isinstance(event, Rendered):
            print(event.text.removesuffix("\n"))
        elif isinstance(event, JobSubmitted):
            print(_job(event))
        elif text := _reported(event):
            sys.stderr.write(f"ptv2-scale launch: {self._unsaid(text.strip())}\n")
            sys.stderr.flush()

    def _unsaid(self, text: str) -> str:
        """The text without lines that a rank has said just before."""
        first, *rest = text.split("\n")
        said = "".join(self._shown)
        return "\n".join([first, *(line for line in rest if line.strip() not in said)])

    def _take_signals(self) -> None:
        # Before there are ranks, a signal ends this process as any other.
        for number in () if self._before else FORWARDED:
            self._before[number] = signal.signal(number, self._heard)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.stop(number)


def _job(event: JobSubmitted) -> str:
    return (
        f"job {event.number}: {event.script}\nits output: {event.log}\n"
        f"watch: squeue --jobs={event.number}\ncancel: scancel {event.number}"
    )


def _reported(event: Event) -> str:
    """What is said of an event in the launch's own name; nothing of some."""
    if isinstance(event, HostWarning):
        return f"{event.host}: {event.text}"
    if isinstance(event, RunFailed):
        return f"the run failed after step {event.step}; {event.verdict}\n{event.reason}"
    if isinstance(event, Restarting):
        return (
            f"the run failed after step {event.step}; restart {event.restart} of {event.allowed}"
            f" in {event.seconds:g} s\n{event.reason}"
        )
    return ""
