"""Staying with a run: its hosts are started, heard and told, and a failed run is started again."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

from ptv2_scale.launchers.log_merger import Merge
from ptv2_scale.launchers.node_agent import FAILED, FORWARDED, SAVED, Report
from ptv2_scale.launchers.remote import Here, ask
from ptv2_scale.launchers.restarts import Again, after_failures
from ptv2_scale.launchers.spec import Channel, Plan
from ptv2_scale.runtime.launch_context import new_name
from ptv2_scale.runtime.status import REFUSED

_LOOK_S = 0.1
_LAST_S = 15.0  # after the first rank's host has ended
_ANSWER_S = 30.0  # for a host that is told something
_MISSING = (125, 126, 127)  # env and shells: there is no such folder or program


@dataclass
class Supervisor:
    """Starts a run and stays with it until it is done.

    Args:
        plan: the run.
        resume: "auto" or what the user asked for.
        restarts: how often a failed run is started again.
        wait: seconds before the first restart.
        patience: seconds in which ranks notice the loss of others, and end.
    """

    plan: Plan
    resume: str
    restarts: int
    wait: float
    patience: float
    _heard: list[int] = field(default_factory=list)

    def stay(self) -> int:
        """Run to the end; returns the exit code."""
        for number in FORWARDED:
            signal.signal(number, lambda heard, _: self._heard.append(heard))
        steps: list[int] = []
        resume = self.resume
        while True:
            end = Start(self.plan.resumed(resume), self._heard, self.patience).stay()
            if end.code != FAILED:
                return end.code
            steps.append(end.step)
            decision = after_failures(steps, self.restarts, self.wait)
            if not isinstance(decision, Again):
                _say(f"the run failed after step {steps[-1]}; {decision.reason}\n{end.words}")
                return FAILED
            _say(
                f"the run failed after step {steps[-1]}; restart {len(steps)} of {self.restarts}"
                f" in {decision.wait:g} s\n{end.words}"
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


@dataclass
class Start:
    """One start of all ranks.

    Args:
        plan: what to start.
        heard: signals that came; more are added while this runs.
        patience: seconds in which ranks notice the loss of others, and end.
    """

    plan: Plan
    heard: Sequence[int]
    patience: float
    name: str = field(default_factory=new_name)
    _reports: dict[int, Report] = field(default_factory=dict)
    _lines: queue.SimpleQueue[tuple[IO[str], str]] = field(default_factory=queue.SimpleQueue)
    _merges: dict[IO[str], Merge] = field(
        default_factory=lambda: {sys.stdout: Merge(), sys.stderr: Merge()}
    )

    def stay(self) -> Report:
        """Run to the end, and say how it ended."""
        self._hand_over_secrets()
        channels = self.plan.channels(self.name)
        processes = [self._open(channel) for channel in channels]
        try:
            self._listen(processes)
        finally:
            for process in processes:
                _close(process)
        self._show(time.monotonic() + 1)
        for target, merge in self._merges.items():
            target.writelines(merge.finish())
            target.flush()
        return self._judge(channels, processes)

    def _hand_over_secrets(self) -> None:
        secret = self.plan.variables.secret
        if secret:
            self._tell("keep", json.dumps(dict(secret)).encode())

    def _tell(self, action: str, stdin: bytes = b"", *arguments: str) -> None:
        """Have the agents of all hosts do something."""
        commands = {
            host: self.plan.agent(host, action, self.name, str(node), *arguments)
            for node, host in enumerate(self.plan.hosts)
        }
        for answer in ask(self.plan.remote, commands, stdin=stdin, timeout=_ANSWER_S).values():
            if answer.code != 0:
                _say(f"{answer.host}: could not be told to {action}: {answer.err.strip()[-300:]}")

    def _open(self, channel: Channel) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            channel.argv,
            env={**os.environ, **channel.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        for source, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
            assert source is not None
            threading.Thread(target=self._read, args=(source, target), daemon=True).start()
        return process

    def _read(self, source: IO[str], target: IO[str]) -> None:
        for line in source:
            report = Report.read(line)
            if report is None:
                self._lines.put((target, line))
            else:
                self._reports[report.node] = report

    def _listen(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        told, until = 0, float("inf")
        while any(process.poll() is None for process in processes):
            self._show(time.monotonic() + _LOOK_S)
            for number in self.heard[told:]:
                self._pass_on(number, processes)
                told += 1
            until = min(until, time.monotonic() + self._left(processes))
            if time.monotonic() > until:
                return

    def _left(self, processes: Sequence[subprocess.Popen[str]]) -> float:
        """Seconds that hosts may still take to end."""
        if 0 in self._reports:
            # A host that is cut off keeps its connection for long, and has nothing to say any more.
            return _LAST_S
        codes = [report.code for report in self._reports.values()]
        failed = any(codes) or any(process.poll() for process in processes)
        return self.patience if failed else float("inf")

    def _pass_on(self, number: int, processes: Sequence[subprocess.Popen[str]]) -> None:
        if isinstance(self.plan.remote, Here):
            for process in processes:
                process.send_signal(number)
        else:
            threading.Thread(
                target=self._tell, args=("signal", b"", str(number)), daemon=True
            ).start()

    def _show(self, until: float) -> None:
        with contextlib.suppress(queue.Empty):
            while (left := until - time.monotonic()) > 0:
                target, line = self._lines.get(timeout=left)
                target.writelines(self._merges[target].hear(line, time.monotonic()))
                target.flush()
        for target, merge in self._merges.items():
            target.writelines(merge.tick(time.monotonic()))
            target.flush()

    def _judge(
        self, channels: Sequence[Channel], processes: Sequence[subprocess.Popen[str]]
    ) -> Report:
        first = self._reports.get(0)
        if first is not None:
            return first
        lost = [
            _lost(channel, process.returncode)
            for channel, process in zip(channels, processes, strict=True)
            if process.returncode
        ]
        codes = {process.returncode for process in processes}
        code = REFUSED if codes & {REFUSED, *_MISSING} else FAILED
        return Report(0, code, 0, "\n".join(lost))


def _lost(channel: Channel, code: int) -> str:
    reached = ", ".join(channel.hosts)
    return f"{reached}: {channel.argv[0]} ended with {code}, without a word of the ranks"


def _close(process: subprocess.Popen[str]) -> None:
    """End a channel; its host notices, and asks its ranks to stop."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()


def _say(text: str) -> None:
    sys.stderr.write(f"ptv2-scale launch: {text.strip()}\n")
    sys.stderr.flush()
