"""A rank's standard output and error: to the terminal, and to `RUN/logs/rank-00003.log`.

Standing between a rank and the world, under whatever launcher; see `relay`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ptv2_scale.launchers.environment import host_name

_DRAIN_S = 6.0


@dataclass(frozen=True)
class _Relay:
    """The relay of this process.

    Attributes:
        process: that reads what this one writes.
        control: descriptor through which it is told of logs.
        originals: standard output and error as they were.
        rank: of this process.
        width: of the terminal, if standard error was one.
    """

    process: subprocess.Popen[bytes]
    control: int
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
    pipes = [os.pipe() for _ in range(3)]
    reading = [str(read) for read, _ in pipes]
    program = str(Path(__file__).with_name("relay.py"))
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", program, *reading, tag],
        pass_fds=[read for read, _ in pipes],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    _flush()
    originals = (os.dup(1), os.dup(2))
    control, *streams = (write for _, write in pipes)
    for target, stream in zip((1, 2), streams, strict=True):
        os.dup2(stream, target)
        os.close(stream)
    for read, _ in pipes:
        os.close(read)
    _relay = _Relay(process, control, originals, rank, width)


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
        os.write(_relay.control, json.dumps([str(path), heading]).encode() + b"\n")


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
    os.close(relay.control)
    with contextlib.suppress(subprocess.TimeoutExpired):  # a child still holds the other end
        relay.process.wait(_DRAIN_S)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
