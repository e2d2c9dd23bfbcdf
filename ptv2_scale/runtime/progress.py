"""Progress of a long command: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Literal

from tqdm import tqdm

from ptv2_scale.runtime.verbosity import chosen

_EVERY = 10.0  # seconds between two lines


class Progress:
    """Tells how far a command is and how long it will still take, on standard error.

    Args:
        unit: what is counted.
        what: what is worked on, said before each number; "": plain to see from the command.
    """

    def __init__(self, unit: Literal["bytes", "batches", "rows"] = "bytes", what: str = "") -> None:
        self._unit, self._what = unit, what
        self._bar: tqdm[None] | None = None
        self._began = self._reported = time.monotonic()
        self._first = -1

    def __call__(self, done: int, total: int) -> None:
        """Note that `done` of `total` are finished."""
        if chosen() == "quiet":
            return
        if self._first < 0:
            self._first = done
        if sys.stderr.isatty():
            self._draw(done, total)
        elif time.monotonic() - self._reported >= _EVERY or done == total:
            self._reported = time.monotonic()
            tqdm.write(self._line(done, total), file=sys.stderr)

    def _draw(self, done: int, total: int) -> None:
        if self._bar is None:
            unit = {"bytes": "B", "batches": "batch", "rows": "row"}[self._unit]
            scaled = self._unit == "bytes"
            self._bar = tqdm(
                total=total, initial=done, unit=unit, unit_scale=scaled, desc=self._what or None
            )
        self._bar.update(done - self._bar.n)
        if done == total:
            self.end()

    def end(self) -> None:
        """No more will be told; what is printed next begins on a line of its own."""
        if self._bar is not None:
            self._bar.close()

    def _line(self, done: int, total: int) -> str:
        reported = f"{self._what}: " if self._what else ""
        if self._unit == "bytes":
            reported += f"{done / 1e9:.2f} of {total / 1e9:.2f} GB"
        else:
            reported += f"{done} of {total} {self._unit}"
        made, took = done - self._first, time.monotonic() - self._began
        if not made:
            return reported
        if self._unit == "bytes":
            reported += f", {made / took / 1e9:.2f} GB/s"
        elif self._unit == "rows":
            reported += f", {made / took:.1f} a second"
        if done == total:
            return reported
        return f"{reported}, about {took * (total - done) / made:.0f} s left"
