"""All ranks of a start: on which hosts, where they meet, and what they run."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass

from ptv2_scale.launchers.hostfile import Host
from ptv2_scale.runtime.errors import UserError

_PORTS = range(20000, 32768)  # below those that systems give away by themselves


@dataclass(frozen=True)
class RankGroup:
    """All ranks of a start.

    Attributes:
        hosts: hosts with as many ranks as slots; the first one has rank 0.
        master: address of the first one.
        port: port at which ranks meet there.
        train: arguments of `ptv2-scale`, "train" and what follows.
    """

    hosts: tuple[Host, ...]
    master: str
    port: int
    train: tuple[str, ...]


def meeting_place(given: str | None, first: str) -> tuple[str, int]:
    """Address and port at which ranks meet.

    Args:
        given: address of --master; the port may be left out.
        first: address of the first host, where nothing was given.

    Raises:
        UserError: the port is none.
    """
    address, colon, port = (given or first).rpartition(":")
    if not colon:
        return port, random.choice(_PORTS)
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise UserError(f"--master {given}: found the port '{port}', expected 1 to 65535.")
    return address, int(port)


def free_port() -> int:
    """A port of this host that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
