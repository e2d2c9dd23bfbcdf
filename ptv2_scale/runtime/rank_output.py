"""A rank's standard output and error: to the terminal, and to `RUN/logs/rank-00003.log`.

Standing between a rank and the world, under whatever launcher; see `relay`.
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

_DRAIN_S = 6.0


@dataclass(frozen=True)
class _Relay:
    """The relay of this process.

    Attributes:
        control: through which it is told of logs, and of the end.
        originals: standard output and error as they were.
        rank: of this process.
        width: of the terminal, if standard error was one.
    """

    control: socket.socket
    originals: tuple[int, int]
    rank: int
    width: int | None


_relay: _Relay | None = None


def start(rank: int) -> None:
    """Send what this process and its children write through a relay.

    Args:
        rank: of this process; lines of all but the first rank carry host and rank in front.
    """
    global _relay
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
    _relay = _Relay(control, originals, rank, width)


def keep(folder: Path) -> None:
    """Keep a log in a folder from now on, with what was written so far.

    Args:
        folder: made if it is not there; where it cannot be, there is no log.
    """
    if _relay is None:
        return
    with contextlib.suppress(OSError):  # the relay tells of it
        folder.mkdir(exist_ok=True)
    path = (folder / log_name(_relay.rank)).absolute()
    now = time.strftime("%Y-%m-%d %H:%M:%S %z")
    world = os.environ.get("WORLD_SIZE", "1")
    heading = f"=== {now}, {host_name()}, process {os.getpid()}, rank {_relay.rank} of {world}"
    with contextlib.suppress(OSError):
        _relay.control.sendall(json.dumps([str(path), heading]).encode() + b"\n")


def log_name(rank: int) -> str:
    """A rank's log in `RUN/logs`."""
    return f"rank-{rank:05d}.log"


def terminal_width() -> int | None:
    """Columns of the terminal that standard error ends at; None: it is none."""
    if _relay is not None:
        return _relay.width
    return os.get_terminal_size(2).columns if sys.stderr.isatty() else None


def finish() -> None:
    """Give the originals back, once all that was written has arrived."""
    global _relay
    relay, _relay = _relay, None
    if relay is None:
        return
    _flush()
    for target, original in zip((1, 2), relay.originals, strict=True):
        os.dup2(original, target)
        os.close(original)
    # Not until the relay ends: libraries keep duplicates of standard error for themselves.
    with relay.control, contextlib.suppress(OSError):
        relay.control.settimeout(_DRAIN_S)
        relay.control.shutdown(socket.SHUT_WR)
        relay.control.recv(1)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
