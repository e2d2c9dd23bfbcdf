"""Supervising a run: its hosts are started, and a run that failed is started again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ptv2_scale.launchers.events import Control, RanksStarting, Restarting, RunFailed
from ptv2_scale.launchers.node_agent import NodeReport
from ptv2_scale.launchers.restarts import Again, after_failures
from ptv2_scale.launchers.result import LaunchResult, state_of
from ptv2_scale.launchers.spec import LaunchSpec
from ptv2_scale.launchers.start import Start
from ptv2_scale.runtime.exit_codes import FAILED, SAVED

_POLL_S = 0.1


@dataclass
class Supervisor:
    """Starts a run and supervises it until it is done.

    Args:
        spec: the run.
        resume: "auto" or what the user asked for.
        restarts: how often a failed run is started again.
        wait: seconds before the first restart.
        patience: seconds in which ranks notice the loss of others, and end.
        control: who hears of it, and may ask it to stop.
    """

    spec: LaunchSpec
    resume: str
    restarts: int
    wait: float
    patience: float
    control: Control

    def run(self) -> LaunchResult:
        """Run to the end."""
        steps: list[int] = []
        resume = self.resume
        while True:
            self.control.emit(RanksStarting(self.spec.hosts, attempt=len(steps)))
            end = Start(self.spec.resumed(resume), self.patience, self.control).run()
            if end.code != FAILED:
                return self._result(end.code, end, len(steps))
            steps.append(end.step)
            if not self._start_again(steps, end.words):
                return self._result(FAILED, end, len(steps) - 1)
            if self.control.stop.signals:  # what there is has been saved
                return self._result(SAVED, end, len(steps) - 1)
            resume = "auto"

    def _start_again(self, steps: Sequence[int], reason: str) -> bool:
        """Report a failure; where the run is to be started again, wait until then."""
        emit, step = self.control.emit, steps[-1]
        decision = after_failures(steps, self.restarts, self.wait)
        if not isinstance(decision, Again):
            emit(RunFailed(step, reason, decision.reason))
            return False
        emit(Restarting(step, reason, len(steps), self.restarts, decision.wait))
        until = time.monotonic() + decision.wait
        while time.monotonic() < until and not self.control.stop.signals:
            time.sleep(_POLL_S)
        return True

    def _result(self, code: int, end: NodeReport, restarts: int) -> LaunchResult:
        return LaunchResult(code, state_of(code), self.spec.run, end.step, end.words, restarts)
