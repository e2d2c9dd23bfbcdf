"""The loop of a sweep process: takes trials, has them run, and notes how they ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ptv2_scale.sweep.cells import Cell
from ptv2_scale.sweep.runners.base import Runner
from ptv2_scale.sweep.state import Claimed, Ending, SweepState

_POLL_S = 0.2
_RENEW_S = 15.0
_PRUNE_S = 2.0  # between two checks of trials that may be pruned
# A process without a trial to be had asks again: others may be killed, and leave theirs.
_ASK_S = 3.0

OnTrial = Callable[[Claimed, Ending | None], None]


@dataclass
class Scheduler:
    """Runs what is left of a sweep, beside other processes that do.

    Args:
        cells: of the sweep.
        state: of the sweep, prepared.
        runner: runs trials.
        on_trial: called with each trial that starts (no ending) or ends.
    """

    cells: Sequence[Cell]
    state: SweepState
    runner: Runner
    on_trial: OnTrial
    _own: dict[int, Claimed] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _renewed: float = float("-inf")
    _ask_at: float = float("-inf")
    _prune_checked: float = float("-inf")

    def stop(self) -> None:
        """Have all trials save and end; from a signal handler or another thread."""
        self._stopping.set()

    def run(self) -> bool:
        """Run until all trials have ended, also those of other processes; False: it was stopped.

        Raises:
            UserError: the state or a runner says that it cannot go on; trials save before.
        """
        try:
            while not self._stopping.is_set():
                self._take_ended()
                self._prune()
                if self._begin() and self._is_over():
                    return True
                self._wait()
        finally:
            self.runner.stop()
            while self._own:
                self._take_ended()
                self._wait()
        return False

    def _begin(self) -> bool:
        """Begin as many trials as there is room for; True: none is to be had, and none runs."""
        room = self.runner.at_once - len(self._own)
        if room < 1 or time.monotonic() < self._ask_at:
            return False
        new: list[Claimed] = []
        while len(new) < room and (trial := self.state.claim(self.cells)) is not None:
            new.append(trial)
            self._own[trial.trial] = trial
            self.on_trial(trial, None)
        if new:
            self.runner.start(new)
        if len(new) < room:
            self._ask_at = time.monotonic() + _ASK_S
        return not self._own

    def _take_ended(self) -> None:
        for trial, ending in self.runner.ended():
            del self._own[trial.trial]
            self.on_trial(trial, self.state.finish(trial, ending))
            self._ask_at = float("-inf")

    def _prune(self) -> None:
        """Stop trials early that score less than others of their cell, where a search asks so."""
        if time.monotonic() - self._prune_checked < _PRUNE_S:
            return
        self._prune_checked = time.monotonic()
        for trial in self._own.values():
            search = trial.cell.search
            if search is not None and search.prune != "none" and self.state.should_prune(trial):
                self.runner.prune(trial)

    def _is_over(self) -> bool:
        """Whether nothing is left to run, here or elsewhere; a search may go on with more seeds."""
        if self.state.is_open(self.cells):
            return False
        self.state.confirm(self.cells)
        self._ask_at = float("-inf")
        return not self.state.is_open(self.cells)

    def _wait(self) -> None:
        if time.monotonic() - self._renewed > _RENEW_S:
            self._renewed = time.monotonic()
            for trial in self._own.values():
                trial.lease.renew()
        time.sleep(_POLL_S)
