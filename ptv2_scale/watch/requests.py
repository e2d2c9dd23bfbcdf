"""Requests to stop: signals, the time limit, a parent or launcher that is gone."""

from __future__ import annotations

import ctypes
import os
import signal
from dataclasses import dataclass, field

# A launcher, a scheduler and a terminal may each pass on what is one request.
ONE_REQUEST_S = 2.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
# Exit code of a process that a second SIGINT ended, as shells count it.
INTERRUPTED = 128 + signal.SIGINT

_PR_SET_PDEATHSIG = 1


class Stopped(Exception):  # noqa: N818 - no error
    """All ranks have agreed to stop here; says what asked them to."""


@dataclass
class Requests:
    """What has been asked of this process.

    Attributes:
        reason: why it is to stop; None: nobody has asked.
    """

    reason: str | None = None
    _since: float = field(default=0.0, repr=False)

    def ask(self, reason: str, now: float) -> None:
        """Stop at the next boundary of steps."""
        if self.reason is None:
            self.reason, self._since = reason, now

    def hear(self, number: int, now: float) -> bool:
        """Take a signal in; whether to stop at once, because it is a second SIGINT.

        Args:
            number: of the signal.
            now: seconds, of any clock that only goes forward.
        """
        again = self.reason is not None and now - self._since > ONE_REQUEST_S
        self.ask(signal.Signals(number).name, now)
        return again and number == signal.SIGINT


def end_with_parent() -> None:
    """Have the kernel send SIGTERM when the launcher that started this rank dies."""
    if os.getppid() > 1:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
