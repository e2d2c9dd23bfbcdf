"""A rank's standard output and error: to the terminal, and to `RUN/logs/rank-00003.log`.

It is the same under every launcher, and for a process that is a rank and nothing else: file
descriptors 1 and 2 are replaced. Training inside another program leaves them alone.
`log_relay` is the process in between.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ptv2_scale.runtime.launch_context import host_name
from ptv2_scale.runtime.rank_env import world_from_environment

_DRAIN_S = 6.0


@dataclass(frozen=True)
class _Relay:
    """The relay of this process.

    Attributes:
        control: the socket that names its log and, by closing, the end.
        originals: descriptors of standard output and error as they were.
        rank: this process's rank.
        width: columns of the terminal, if standard error was one.
    """

    control: socket.socket
    originals: tuple[int, int]
    rank: int
    width: int | None


_running: _Relay | None = None


def redirect(rank: int) -> None:
    """Send what this process and its children write through a relay.

    Args:
        rank: this process's rank; lines of all but the first rank carry host and rank in front.
    """
    global _running
    tag = f"[{host_name()} rank {rank}] " if rank else ""
    width = os.get_terminal_size(2).columns if os.isatty(2) else None
    control, theirs = socket.socketpair()
    pipes = [os.pipe() for _ in range(2)]
    reading = [theirs.fileno(), *(read for read, _ in pipes)]
    program = str(Path(__file__).with_name("log_relay.py"))
    subprocess.Popen(
        [sys.executable, "-I", "-S", program, *map(str, reading), tag],
        pass_fds=reading,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    _flush()
    originals = (os.dup(1), os.dup(2))
    for target, (read, write) in zip((1, 2), pipes, strict=True):
        os.dup2(write, target)
        os.close(write)
        os.close(read)
    theirs.close()
    _running = _Relay(control, originals, rank, width)


def open_log(folder: Path) -> None:
    """Write a log in a folder from now on, with the output so far; nothing without `redirect`.

    Args:
        folder: `RUN/logs`; made if it is not there; where it cannot be, there is no log.
    """
    if _running is None:
        return
    with contextlib.suppress(OSError):  # the relay warns of it
        folder.mkdir(exist_ok=True)
    path = (folder / log_name(_running.rank)).absolute()
    now = time.strftime("%Y-%m-%d %H:%M:%S %z")
    world = world_from_environment()
    heading = f"=== {now}, {host_name()}, process {os.getpid()}, rank {_running.rank} of {world}"
    with contextlib.suppress(OSError):
        _running.control.sendall(json.dumps([str(path), heading]).encode() + b"\n")


def log_name(rank: int) -> str:
    """The name of a rank's log in `RUN/logs`."""
    return f"rank-{rank:05d}.log"


def terminal_width() -> int | None:
    """Columns of the terminal that standard error ends at; None: it ends at none."""
    if _running is not None:
        return _running.width
    return os.get_terminal_size(2).columns if sys.stderr.isatty() else None


def restore() -> None:
    """Put the originals back, once all that was written has arrived."""
    global _running
    running, _running = _running, None
    if running is None:
        return
    _flush()
    for target, original in zip((1, 2), running.originals, strict=True):
        os.dup2(original, target)
        os.close(original)
    # Not until the relay ends: libraries keep duplicates of standard error for themselves.
    with running.control, contextlib.suppress(OSError):
        running.control.settimeout(_DRAIN_S)
        running.control.shutdown(socket.SHUT_WR)
        running.control.recv(1)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
