"""How far this process has got: told by whoever does the work, read by the thread that watches."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Heartbeat:
    """A place on the way through a run.

    Attributes:
        count: grows with every piece of work that was done.
        step: optimizer steps made.
        where: in words.
    """

    count: int = 0
    step: int = 0
    where: str = "starting"


_now = Heartbeat()


def report_progress(where: str, step: int | None = None) -> None:
    """Note that another piece of work begins.

    Args:
        where: in words, such as "step 12" or "an evaluation".
        step: optimizer steps made; None: as many as before.
    """
    global _now
    _now = Heartbeat(_now.count + 1, _now.step if step is None else step, where)


def current() -> Heartbeat:
    """Where this process is."""
    return _now
