"""Stacks of this process, and of one beside it that has stopped answering."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback

from ptv2_scale.runtime.processes import Process

_WAIT_S = 2.0
_POLL_S = 0.05
_TGKILL = {"x86_64": 234, "aarch64": 131}.get(os.uname().machine)  # glibc before 2.30 has no name
_FRAMES = 20
_NOISE = ("torch/nn/modules/module.py", "<frozen runpy>", "deepspeed/utils/nvtx.py")


def own_stack() -> str:
    """The stack of this process's main thread, innermost call last."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    entries = [entry.splitlines()[0] for entry in traceback.format_stack(frame)]
    shown = [entry for entry in entries if not any(part in entry for part in _NOISE)]
    return "\n".join(shown[-_FRAMES:])


def enable_stack_dump() -> int:
    """Have SIGUSR2 write this process's stack, without Python's help, where neighbours read it.

    Returns:
        The descriptor it is written to: a file in memory, seen as /proc/PID/fd/N.
    """
    file = os.memfd_create("ptv2_scale stack")
    # Of all threads: the one that the kernel picks for the signal may know nothing of Python.
    faulthandler.register(signal.SIGUSR2, file=file, all_threads=True)
    return file


def take_stack(process: Process, stack_file: int) -> str:
    """The stack of a process of this host that may be stopped or hang; it is killed afterwards.

    Args:
        process: a process of the same user.
        stack_file: the descriptor that `enable_stack_dump` returned there.

    Returns:
        The stack, innermost call last, or why there is none.
    """
    _ask(process)
    process.signal(signal.SIGCONT)
    # The main thread is the oldest and stands last.
    text = _read_whole(f"/proc/{process.pid}/fd/{stack_file}").rpartition("\n\n")[2]
    process.signal(signal.SIGKILL)
    shown = [line for line in text.splitlines()[1:] if not any(part in line for part in _NOISE)]
    # As Python shows stacks elsewhere: innermost call last.
    return "\n".join(reversed(shown[:_FRAMES])) or "(its stack could not be had)"


def _ask(process: Process) -> None:
    """Send SIGUSR2, to the main thread: a process that was stopped gets no further before that."""
    if _TGKILL is None or not process.alive():
        process.signal(signal.SIGUSR2)
    else:
        ctypes.CDLL(None).syscall(_TGKILL, process.pid, process.pid, int(signal.SIGUSR2))


def _read_whole(path: str) -> str:
    """A file that another process writes, once it does not grow any more."""
    text, until = "", time.monotonic() + _WAIT_S
    while time.monotonic() < until:
        time.sleep(_POLL_S)
        try:
            with open(path) as file:
                before, text = text, file.read()
        except OSError:
            break
        if text and text == before:
            break
    return text
