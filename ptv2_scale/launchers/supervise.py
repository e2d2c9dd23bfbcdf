"""Staying with a run: signals go to its ranks, a failed run is started again from its checkpoint.

DeepSpeed's launcher runs in a session of its own and is never signalled: it would kill ranks that
are about to save. The exit code comes from `RUN/status.json`, which the ranks write.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ptv2_scale.launchers.environment import Launch
from ptv2_scale.launchers.restarts import Again, after_failures
from ptv2_scale.launchers.status import read_status

DONE, REFUSED, FAILED, SAVED = 0, 2, 3, 75
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

_LOOK_S = 0.1
# DeepSpeed's launcher itself gives its ranks 30 s to end.
_END_S = 40.0


@dataclass
class Supervisor:
    """Starts a run and stays with it until it is done.

    Args:
        run: the run directory.
        command: argv of a start, by how to resume: "auto" or what the user asked for.
        resume: what the user asked for.
        restarts: how often a failed run is started again.
        wait: seconds before the first restart.
    """

    run: Path
    command: Callable[[str], list[str]]
    resume: str
    restarts: int
    wait: float
    _heard: list[int] = field(default_factory=list)

    def stay(self) -> int:
        """Run to the end; returns the exit code."""
        for number in FORWARDED:
            signal.signal(number, lambda heard, _: self._heard.append(heard))
        steps: list[int] = []
        resume = self.resume
        while True:
            code = self._start(self.command(resume))
            if code != FAILED:
                return code
            steps.append(_last_step(self.run))
            decision = after_failures(steps, self.restarts, self.wait)
            if not isinstance(decision, Again):
                _say(f"the run failed after step {steps[-1]}; {decision.reason}")
                return FAILED
            _say(
                f"the run failed after step {steps[-1]}; restart {len(steps)} of {self.restarts}"
                f" in {decision.wait:g} s"
            )
            if not self._sleep(decision.wait):
                return SAVED
            resume = "auto"

    def _sleep(self, seconds: float) -> bool:
        """Wait; False: a signal came, and what there is has been saved."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._heard:
            time.sleep(_LOOK_S)
        return not self._heard

    def _start(self, argv: list[str]) -> int:
        with tempfile.TemporaryDirectory(prefix="ptv2_scale.") as folder:
            launch = Launch.new(Path(folder))
            runner = subprocess.Popen(
                argv, env={**os.environ, **launch.variables()}, start_new_session=True
            )
            self._forward(launch, runner)
            _end_ranks(launch)
            return self._code(launch, runner.returncode)

    def _forward(self, launch: Launch, runner: subprocess.Popen[bytes]) -> None:
        """Pass signals on until the runner ends; a rank that is not there yet gets them later."""
        told: dict[int, int] = {}
        while runner.poll() is None:
            for process in launch.registered():
                for number in self._heard[told.get(process.pid, 0) :]:
                    process.signal(number)
                told[process.pid] = len(self._heard)
            time.sleep(_LOOK_S)

    def _code(self, launch: Launch, returned: int) -> int:
        status = read_status(self.run)
        if status is not None and status.launch == launch.name and status.exit_code is not None:
            return status.exit_code
        if self._heard:
            return SAVED  # before anything was begun
        return returned if returned in (DONE, REFUSED) else FAILED


def _end_ranks(launch: Launch) -> None:
    """See that no rank outlives its launcher, which may have been killed."""
    until = time.monotonic() + _END_S
    number = signal.SIGTERM
    while alive := [process for process in launch.registered() if process.alive()]:
        if time.monotonic() > until:
            number = signal.SIGKILL
        for process in alive:
            process.signal(number)
        time.sleep(1.0)


def _last_step(run: Path) -> int:
    """Steps made, as far as they were written down; 0 before the first."""
    try:
        with (run / "metrics.jsonl").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - (1 << 16)))
            steps = [_step(line) for line in file.read().splitlines()]
    except OSError:
        return 0
    return next((step for step in reversed(steps) if step is not None), 0)


def _step(line: bytes) -> int | None:
    try:
        record = json.loads(line)
        return int(record["step"]) if record["event"] == "step" else None
    except (ValueError, KeyError, TypeError):
        return None


def _say(text: str) -> None:
    sys.stderr.write(f"ptv2-scale launch: {text}\n")
    sys.stderr.flush()
