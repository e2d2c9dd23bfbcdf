"""Ranks that begin with the libraries loaded: forks of one process, which takes seconds off each.

What a rank does after its imports is what it does when `python` starts it: arguments, environment,
working directory, process group and output are its own. Starts by launchers are real ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any

MESSAGE = 1 << 20
# Numpy's threads begin when it is imported, and would not survive a fork.
THREADS = {"OPENBLAS_NUM_THREADS": "1"}
# What may differ from rank to rank. Of the rest something may have been read at an import.
OWN = frozenset(
    {
        *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
        # What our own program sets in the process of the tests too, and reads as it runs.
        *("DATASETS_VERBOSITY", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"),
        *("PATH", "TORCH_EXTENSIONS_DIR"),
        "PYTEST_CURRENT_TEST",
    }
)


class Rank:
    """A process, with what the tests use of `subprocess.Popen`; output is kept in a file."""

    def __init__(self, server: ForkServer, pid: int, output: IO[str]) -> None:
        self.pid, self._server, self._output = pid, server, output
        self.returncode: int | None = None

    def poll(self) -> int | None:
        self._server.receive(0)
        if self.returncode is None:
            self.returncode = self._server.codes.get(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            left = until - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            self._server.receive(min(left, 1.0))
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        self.wait(timeout)
        self._output.seek(0)
        return self._output.read(), None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that all are forks of; it begins with the first of them."""

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        self._socket: socket.socket | None = None
        self._common: dict[str, str] = {}
        self._started: int | None = None

    def fits(self, env: Mapping[str, str]) -> bool:
        """Whether a rank of this environment may be a fork."""
        return self._socket is None or self._common == common(env)

    def start(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        output: IO[str] | None = None,
        group: int | None = None,
    ) -> Rank:
        """Start `python ARGUMENTS`, as `subprocess.Popen` does.

        Args:
            arguments: a script or `-m` and a module, and what it gets.
            env: the environment.
            output: of both kinds; None: a file that `communicate` reads.
            group: process group to join; 0: a new one; None: this process's.
        """
        output = output or tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        order = {"argv": list(arguments), "env": dict(env), "cwd": os.getcwd(), "group": group}
        if self._socket is None:
            self._socket, self._common = self._begin(env), common(env)
        socket.send_fds(self._socket, [json.dumps(order).encode()], [output.fileno()])
        self._started = None
        while self._started is None:
            self.receive(60)
        return Rank(self, self._started, output)

    def _begin(self, env: Mapping[str, str]) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env={**env, **THREADS}, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
            )  # fmt: skip
        return ours

    def receive(self, seconds: float) -> None:
        """Take in what has ended or begun; wait for that if nothing has."""
        assert self._socket is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            while selector.select(seconds):
                content = self._socket.recv(MESSAGE)
                assert content, "the process that ranks are forks of has ended"
                reported = json.loads(content)
                if "started" in reported:
                    self._started = reported["started"]
                else:
                    self.codes[reported["ended"]] = reported["code"]
                seconds = 0


def common(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in OWN}


SERVER = ForkServer()


def load() -> None:
    """What ranks import sooner or later, and nothing that starts a thread of its own."""
    import deepspeed.runtime.zero.muon.muon_optimizer  # noqa: F401 - so does `initialize`
    import sklearn.metrics  # noqa: F401

    import ptv2_scale.engine.run
    import ptv2_scale.engine.session
    import ptv2_scale.export.native  # noqa: F401


def serve(orders: socket.socket) -> None:
    """Fork a rank for each order, and tell of each that ends, until nobody orders any more."""
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        selector.register(orders, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if reading in ready:
                reading.recv(1 << 16)
                tell_ended(orders)
            if orders in ready:
                content, handles, _, _ = socket.recv_fds(orders, MESSAGE, 1)
                if not content:
                    return
                start(orders, json.loads(content), handles[0])


def tell_ended(orders: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            reported = {"ended": ended[0], "code": os.waitstatus_to_exitcode(ended[1])}
            orders.send(json.dumps(reported).encode())


def start(orders: socket.socket, order: dict[str, Any], output: int) -> None:
    pid = os.fork()
    if pid:
        if order["group"] is not None:
            with contextlib.suppress(OSError):  # the child was faster
                os.setpgid(pid, order["group"])
        os.close(output)
        orders.send(json.dumps({"started": pid}).encode())
        return
    code = 1
    try:
        take_over(order, output)
        orders.close()
        code = run(order["argv"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def take_over(order: dict[str, Any], output: int) -> None:
    """Make this fork a process like any other."""
    import random

    import numpy

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if order["group"] is not None:
        with contextlib.suppress(OSError):  # the parent was faster
            os.setpgid(0, order["group"])
    for target in (1, 2):
        os.dup2(output, target)
    os.close(output)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    random.seed()
    numpy.random.seed()


def run(argv: list[str]) -> int:
    """Run a script or a module as `python` does."""
    import runpy
    import traceback

    try:
        if argv[0] == "-m":
            sys.argv = argv[1:]
            runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = argv
            sys.path.insert(0, os.path.dirname(argv[0]))
            runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    load()
    serve(socket.socket(fileno=int(sys.argv[1])))
