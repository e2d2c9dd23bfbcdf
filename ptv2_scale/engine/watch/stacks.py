"""Stacks of this process, and of one beside it that has stopped answering."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback

from ptv2_scale.processes import Process

_WAIT_S = 2.0
_FRAMES = 20
_NOISE = ("torch/nn/modules/module.py", "<frozen runpy>", "deepspeed/utils/nvtx.py")


def own_stack() -> str:
    """Stack of this process's main thread, innermost call last."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    entries = [entry.splitlines()[0] for entry in traceback.format_stack(frame)]
    telling = [entry for entry in entries if not any(part in entry for part in _NOISE)]
    return "\n".join(telling[-_FRAMES:])


def arm() -> int:
    """Have SIGUSR2 write this process's stack, without Python's help, where neighbours read it.

    Returns:
        The descriptor it is written to: a file in memory, seen as /proc/PID/fd/N.
    """
    file = os.memfd_create("ptv2_scale stack")
    # Of all threads: the one that the kernel picks for the signal may know nothing of Python.
    faulthandler.register(signal.SIGUSR2, file=file, all_threads=True)
    return file


def take_stack(process: Process, stack_file: int) -> str:
    """Stack of a process of this host that may be stopped or hang; it is killed afterwards.

    Args:
        process: of the same user.
        stack_file: what `arm` gave there.

    Returns:
        The stack, innermost call last, or why there is none.
    """
    path = f"/proc/{process.pid}/fd/{stack_file}"
    process.signal(signal.SIGUSR2)
    process.signal(signal.SIGCONT)
    text, until = "", time.monotonic() + _WAIT_S
    while not text and time.monotonic() < until:
        time.sleep(0.05)
        try:
            with open(path) as file:
                # The main thread is the oldest and stands last.
                text = file.read().rpartition("\n\n")[2]
        except OSError:
            break
    process.signal(signal.SIGKILL)
    telling = [line for line in text.splitlines()[1:] if not any(part in line for part in _NOISE)]
    # As Python shows stacks elsewhere: innermost call last.
    return "\n".join(reversed(telling[:_FRAMES])) or "(its stack could not be had)"
