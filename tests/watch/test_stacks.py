"""The stack of a process that was stopped: taken where it stopped, not where it got to later."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

from ptv2_scale.runtime.processes import Process
from ptv2_scale.watch.stacks import take_stack

STOPS = """
    import os, signal, threading, time
    from ptv2_scale.watch.stacks import enable_stack_dump

    def further():
        while True:
            sum(range(1000))

    def stops_here():
        os.kill(os.getpid(), signal.SIGSTOP)
        further()

    # Threads that the kernel may pick for a signal, as a rank has many.
    for _ in range(8):
        threading.Thread(target=lambda: time.sleep(600), daemon=True).start()
    print(enable_stack_dump(), flush=True)
    stops_here()
"""


def test_it_shows_where_the_process_was_stopped_and_ends_it() -> None:
    program = [sys.executable, "-c", textwrap.dedent(STOPS)]
    for _ in range(5):
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as stopped:
            assert stopped.stdout is not None
            file = int(stopped.stdout.readline())
            process = Process.here(stopped.pid)
            assert process is not None
            while _state(stopped.pid) != "T":
                pass
            stack = take_stack(process, file).splitlines()
        assert stopped.returncode == -signal.SIGKILL
        assert stack[-1].endswith("in stops_here"), stack
        assert stack[-2].endswith("in <module>"), stack


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]
