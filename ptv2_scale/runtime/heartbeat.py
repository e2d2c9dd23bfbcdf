"""The progress of this process: reported by whoever does the work, read by the watch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Heartbeat:
    """A place on the way through a run.

    Attributes:
        count: pieces of work begun so far.
        step: optimizer steps made.
        where: the piece of work it is at, in words.
    """

    count: int = 0
    step: int = 0
    where: str = "starting"


_now = Heartbeat()


def report_progress(where: str, step: int | None = None) -> None:
    """Report that another piece of work begins.

    Args:
        where: the piece of work in words, such as "step 12" or "an evaluation".
        step: optimizer steps made; None: as many as before.
    """
    global _now
    _now = Heartbeat(_now.count + 1, _now.step if step is None else step, where)


def current() -> Heartbeat:
    """The newest heartbeat of this process."""
    return _now


def reset() -> None:
    """Begin anew, as a process does that starts another run."""
    global _now
    _now = Heartbeat()
