"""Requests to stop: signals, the time limit, a parent or launcher that is gone."""

from __future__ import annotations

import ctypes
import os
import signal
from dataclasses import dataclass, field

from ptv2_scale.runtime import heartbeat
from ptv2_scale.runtime.exit_codes import FAILED, SAVED

# A launcher, a scheduler and a terminal may each pass on what is one request.
ONE_REQUEST_S = 2.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

TIME_LIMIT = "the time limit"
# What a limit on time asks with, the recipe's or Slurm's.
LIMITS = (TIME_LIMIT, signal.SIGUSR1.name)

_PR_SET_PDEATHSIG = 1


class Stopped(Exception):  # noqa: N818 - no error
    """All ranks have agreed to stop at a boundary of steps, and everything is saved.

    Args:
        reason: what asked them to: a signal's name, the time limit, the end of the launcher.

    Attributes:
        reason: the same.
        step: optimizer steps made until then.
        code: the exit code it stands for.
    """

    code = SAVED

    def __init__(self, reason: str) -> None:
        self.reason, self.step = reason, heartbeat.current().step
        after = f"after step {self.step}, with everything saved"
        super().__init__(f"stopped by {reason} {after if self.step else 'before the first step'}")


class NoProgress(Stopped):
    """A limit on time has stopped a run at the very step that the attempt before had come to."""

    code = FAILED

    def __str__(self) -> str:
        return (
            f"{super().__str__()}, as far as the attempt before had come. A start takes longer than"
            " the limit leaves: give it more time (train.time_limit, slurm.time, slurm.warning)."
        )


@dataclass
class Requests:
    """Requests that this process has received.

    Attributes:
        reason: why the process is to stop; None: nobody has asked.
    """

    reason: str | None = None
    _since: float = field(default=0.0, repr=False)

    def ask(self, reason: str, now: float) -> None:
        """Ask for a stop at the next boundary of steps; the first reason counts."""
        if self.reason is None:
            self.reason, self._since = reason, now

    def take_signal(self, number: int, now: float) -> bool:
        """Take a signal in.

        Args:
            number: the number of the signal.
            now: seconds of any clock that only goes forward.

        Returns:
            Whether to stop at once, because it is a second SIGINT.
        """
        again = self.reason is not None and now - self._since > ONE_REQUEST_S
        self.ask(signal.Signals(number).name, now)
        return again and number == signal.SIGINT


def end_with_parent() -> None:
    """Have the kernel send SIGTERM when the launcher that started this rank dies."""
    if os.getppid() > 1:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
