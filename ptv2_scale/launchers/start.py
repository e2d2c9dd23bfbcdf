"""One start of all ranks: their hosts are started, heard and told, until all have ended."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import IO

from ptv2_scale.launchers.events import Control, HostWarning, OutputLine, Stream
from ptv2_scale.launchers.log_merger import LogMerger
from ptv2_scale.launchers.node_agent import REPORT, NodeReport, last_step
from ptv2_scale.launchers.remote import LocalHost, ask
from ptv2_scale.launchers.spec import Channel, LaunchSpec
from ptv2_scale.runtime.exit_codes import FAILED, INVALID_INPUT
from ptv2_scale.runtime.launch_context import new_name

_POLL_S = 0.1
_LAST_S = 15.0  # after the first rank's host has ended
_ANSWER_S = 30.0  # for a host that is told something
_MISSING = (125, 126, 127)  # env and shells: there is no such folder or program


@dataclass
class Start:
    """One start of all ranks.

    Args:
        spec: what to start.
        patience: seconds in which ranks notice the loss of others, and end.
        control: who hears of it; signals may be asked for while this runs.
    """

    spec: LaunchSpec
    patience: float
    control: Control
    name: str = field(default_factory=new_name)
    _reports: dict[int, NodeReport] = field(default_factory=dict)
    # Threads put in; the caller's own thread takes out, and calls back.
    _heard: queue.SimpleQueue[OutputLine | HostWarning] = field(default_factory=queue.SimpleQueue)
    _mergers: dict[Stream, LogMerger] = field(
        default_factory=lambda: {"stdout": LogMerger(), "stderr": LogMerger()}
    )

    def run(self) -> NodeReport:
        """Run to the end, and say how it ended."""
        self._hand_over_secrets()
        channels = self.spec.channels(self.name)
        processes: list[subprocess.Popen[str]] = []
        try:
            for channel in channels:
                processes.append(self._open(channel))
            self._listen(processes)
        finally:
            for process in processes:
                _close(process)
        self._show(time.monotonic() + 1)
        for stream, merger in self._mergers.items():
            self._emit(stream, merger.finish())
        return self._outcome(channels, processes)

    def _hand_over_secrets(self) -> None:
        secret = self.spec.variables.secret
        if secret:
            self._tell("keep", json.dumps(dict(secret)).encode())

    def _tell(self, action: str, stdin: bytes = b"", *arguments: str) -> None:
        """Have the agents of all hosts do something."""
        commands = {
            host: self.spec.agent(host, action, self.name, str(node), *arguments)
            for node, host in enumerate(self.spec.hosts)
        }
        for answer in ask(self.spec.remote, commands, stdin=stdin, timeout=_ANSWER_S).values():
            if answer.code != 0:
                text = f"could not be told to {action}: {answer.err.strip()[-300:]}"
                self._heard.put(HostWarning(answer.host, text))

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
        sources: dict[Stream, IO[str] | None] = {"stdout": process.stdout, "stderr": process.stderr}
        for stream, source in sources.items():
            assert source is not None
            threading.Thread(target=self._read, args=(source, stream), daemon=True).start()
        return process

    def _read(self, source: IO[str], stream: Stream) -> None:
        with source:
            for line in source:
                # Ranks that were killed may leave half a line before the report.
                before, begin, after = line.partition(REPORT)
                report = NodeReport.read(f"{begin}{after}")
                if report is None:
                    self._heard.put(OutputLine(stream, line))
                    continue
                self._reports[report.node] = report
                if before:
                    self._heard.put(OutputLine(stream, f"{before}\n"))

    def _listen(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        reported, until = 0, float("inf")
        while any(process.poll() is None for process in processes):
            self._show(time.monotonic() + _POLL_S)
            for number in self.control.stop.signals[reported:]:
                self._pass_on(number, processes)
                reported += 1
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
        if isinstance(self.spec.remote, LocalHost):
            for process in processes:
                process.send_signal(number)
        else:
            threading.Thread(
                target=self._tell, args=("signal", b"", str(number)), daemon=True
            ).start()

    def _show(self, until: float) -> None:
        """Report what is heard until some time."""
        with contextlib.suppress(queue.Empty):
            while (left := until - time.monotonic()) > 0:
                self._take(self._heard.get(timeout=left))
        for stream, merger in self._mergers.items():
            self._emit(stream, merger.tick(time.monotonic()))

    def _take(self, heard: OutputLine | HostWarning) -> None:
        if isinstance(heard, HostWarning):
            self.control.emit(heard)
        else:
            lines = self._mergers[heard.stream].add(heard.text, time.monotonic())
            self._emit(heard.stream, lines)

    def _emit(self, stream: Stream, lines: Iterable[str]) -> None:
        for line in lines:
            self.control.emit(OutputLine(stream, line))

    def _outcome(
        self, channels: Sequence[Channel], processes: Sequence[subprocess.Popen[str]]
    ) -> NodeReport:
        first = self._reports.get(0)
        if first is not None:
            return first
        lost = [
            _lost(channel, process.returncode)
            for channel, process in zip(channels, processes, strict=True)
            if process.returncode
        ]
        codes = {process.returncode for process in processes}
        code = INVALID_INPUT if codes & {INVALID_INPUT, *_MISSING} else FAILED
        return NodeReport(0, code, last_step(self.spec.run), "\n".join(lost))


def _lost(channel: Channel, code: int) -> str:
    hosts = ", ".join(channel.hosts)
    return f"{hosts}: {channel.argv[0]} ended with {code}, without a word of the ranks"


def _close(process: subprocess.Popen[str]) -> None:
    """End a channel; its host notices, and asks its ranks to stop."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
