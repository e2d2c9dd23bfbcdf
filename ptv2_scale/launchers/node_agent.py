"""What a launch runs on each host: it starts the ranks there, supervises them, and reports.

    python -m ptv2_scale.launchers.node_agent run NAME NODE --run RUN [--until-eof] -- ARGV
                                                until-eof: for a launch that reads the report
    python -m ptv2_scale.launchers.node_agent signal NAME NODE NUMBER
    python -m ptv2_scale.launchers.node_agent keep NAME NODE    secrets as JSON on standard input

ARGV is a launcher of one host's ranks: DeepSpeed's, torchrun or accelerate. It runs in a session of
its own and is never signalled: DeepSpeed's would kill ranks that are about to save. The exit code
comes from `RUN/status.json`, which the ranks write, where this host has it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ptv2_scale.runtime.exit_codes import DONE, FAILED, INVALID_INPUT, SAVED
from ptv2_scale.runtime.launch_context import Launch, private_folder
from ptv2_scale.runtime.status import last_words, read_status

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
REPORT = "\x1eptv2-scale "  # begins a line of standard error that is no text for people

_LOOK_S = 0.1
_FINAL = frozenset({INVALID_INPUT, SAVED})  # codes after which ranks are not started again
_GRACE_S = 2.0
# DeepSpeed's launcher itself gives its ranks 30 s to end.
_END_S = 40.0
_SECRETS = "secrets"
_SIGNALS = "signals"


@dataclass(frozen=True)
class NodeReport:
    """How a host's ranks ended.

    Attributes:
        node: number of the host.
        code: exit code.
        step: steps made, as far as this host knows.
        words: why, and where to read more; empty where there is nothing to tell.
    """

    node: int
    code: int
    step: int
    words: str = ""

    def line(self) -> str:
        """As it is sent."""
        return REPORT + json.dumps(asdict(self))

    @classmethod
    def read(cls, line: str) -> NodeReport | None:
        """A report; None: the line is none."""
        if not line.startswith(REPORT):
            return None
        try:
            return cls(**json.loads(line.removeprefix(REPORT)))
        except (ValueError, TypeError):
            return None


@dataclass
class NodeAgent:
    """Starts a host's ranks and supervises them.

    Args:
        launch: what the ranks are told of it.
        run_directory: of the run.
        node: number of this host.
    """

    launch: Launch
    run_directory: Path
    node: int
    _heard: list[int] = field(default_factory=list)
    _sent: int = 0

    def run(self, argv: Sequence[str], until_eof: bool) -> NodeReport:
        """Run a launcher of ranks to its end.

        Args:
            argv: the launcher.
            until_eof: whether the end of standard input means that nobody listens any more.
        """
        for number in FORWARDED:
            signal.signal(number, lambda heard, _: self._heard.append(heard))
        if until_eof:
            threading.Thread(target=self._await_eof, daemon=True).start()
        environment = {**os.environ, **self.launch.variables(), **_take_secrets(self.launch)}
        runner = subprocess.Popen(
            argv, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
        self._forward(runner)
        _end_ranks(self.launch)
        status = read_status(self.run_directory)
        if status is None or status.launch != self.launch.name or status.exit_code is None:
            return NodeReport(
                self.node, self._code(runner.returncode), last_step(self.run_directory)
            )
        words = last_words(status, self.run_directory)
        return NodeReport(self.node, status.exit_code, last_step(self.run_directory), words)

    def _await_eof(self) -> None:
        while os.read(0, 1 << 16):
            pass
        self._heard.append(signal.SIGTERM)

    def _forward(self, runner: subprocess.Popen[bytes]) -> None:
        """Pass signals on until the runner ends; a rank that is not there yet gets them later."""
        reported: dict[int, int] = {}
        ending = threading.Timer(_GRACE_S, runner.terminate)
        ending.daemon = True
        while runner.poll() is None:
            self._hear_sent()
            if ending.ident is None and self._over():
                # torchrun starts ranks again whatever they ended with.
                ending.start()
            for process in self.launch.registered():
                for number in self._heard[reported.get(process.pid, 0) :]:
                    process.signal(number)
                reported[process.pid] = len(self._heard)
            time.sleep(_LOOK_S)

    def _over(self) -> bool:
        """Whether the ranks have ended, and are not to be started again."""
        codes = self.launch.codes()
        alive = any(process.alive() for process in self.launch.registered())
        return bool(codes & _FINAL) and FAILED not in codes and not alive

    def _hear_sent(self) -> None:
        path = self.launch.folder / _SIGNALS
        sent = path.read_text().split() if path.exists() else []
        self._heard += map(int, sent[self._sent :])
        self._sent = len(sent)

    def _code(self, returned: int) -> int:
        """Exit code where the ranks' own is not known."""
        if returned in (DONE, INVALID_INPUT, SAVED):
            return returned
        codes = self.launch.codes()
        if codes:
            return next((code for code in (FAILED, INVALID_INPUT, SAVED) if code in codes), FAILED)
        began = any(True for _ in self.launch.registered())
        return SAVED if self._heard and not began else FAILED


def send_signal(name: str, node: int, number: int) -> None:
    """Have the agent of a start pass a signal on to its ranks."""
    with (private_folder(name, node) / _SIGNALS).open("a") as file:
        file.write(f"{number}\n")


def keep_secrets(name: str, node: int, content: bytes) -> None:
    """Keep secrets for the agent of a start, in a file that nobody else can read."""
    path = private_folder(name, node) / _SECRETS
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def _take_secrets(launch: Launch) -> dict[str, str]:
    path = launch.folder / _SECRETS
    if not path.exists():
        return {}
    found = json.loads(path.read_bytes())
    path.unlink()
    return dict(found)


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


def last_step(run: Path) -> int:
    """Steps that a run has made, as far as its directory is seen here; 0 before the first."""
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


def main(argv: Sequence[str]) -> int:
    """Run the agent, or send it something."""
    arguments = _parser().parse_args(argv)
    if arguments.action == "signal":
        send_signal(arguments.name, arguments.node, arguments.number)
        return DONE
    if arguments.action == "keep":
        keep_secrets(arguments.name, arguments.node, sys.stdin.buffer.read())
        return DONE
    launch = Launch.new(arguments.name, arguments.node)
    try:
        agent = NodeAgent(launch, arguments.run, arguments.node)
        report = agent.run(arguments.argv, arguments.until_eof)
        if arguments.until_eof:
            with contextlib.suppress(OSError):  # nobody listens any more
                sys.stderr.write(f"{report.line()}\n")
                sys.stderr.flush()
        return report.code
    finally:
        shutil.rmtree(launch.folder, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    # A grammar of its own: this is a program, which hosts and batch scripts start by its module.
    parser = argparse.ArgumentParser(prog="python -m ptv2_scale.launchers.node_agent")
    actions = parser.add_subparsers(dest="action", required=True)
    made = {name: actions.add_parser(name) for name in ("run", "signal", "keep")}
    for one in made.values():
        one.add_argument("name")
        one.add_argument("node", type=int)
    made["signal"].add_argument("number", type=int)
    made["run"].add_argument("--run", type=Path, required=True)
    made["run"].add_argument("--until-eof", action="store_true")
    made["run"].add_argument("argv", nargs="+")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
