"""All ranks of a start: on which hosts, where they meet, and what they run."""

from __future__ import annotations

import ipaddress
import random
import re
import socket
from dataclasses import dataclass

from ptv2_scale.launchers.hostfile import Host
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.nodelist import is_host_name

_PORTS = range(20000, 32768)  # below those that systems give away by themselves
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?:(:)(.*))?", re.DOTALL)
_DIGITS = re.compile(r"[0-9]{1,5}", re.ASCII)
_NUMERIC = re.compile(r"[0-9.]*", re.ASCII)


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
        given: --master's, ADDRESS or ADDRESS:PORT; None: it was not given.
        first: that of the first host, in the same form.

    Raises:
        UserError: it is neither a name nor an address, or the port is none.
    """
    address, port = split_place(first if given is None else given)
    return address, random.choice(_PORTS) if port is None else port


def split_place(text: str) -> tuple[str, int | None]:
    """Address and port of a text such as "node1:29500", "10.0.0.1", "::1" or "[::1]:29500".

    Args:
        text: an IPv6 address has no port, unless it stands in brackets.

    Returns:
        The address without brackets; None for a port that is not written.

    Raises:
        UserError: it is neither a name nor an address, or the port is none.
    """
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed is None and _is_ip(text, 6):
        return text, None
    address, colon, port = text.partition(":") if bracketed is None else bracketed.groups("")
    if not (_is_name(address) if bracketed is None else _is_ip(address, 6)):
        raise UserError(
            f"--master {text}: found '{address}', expected a host's name or address, with"
            " its port or without: node1, node1:29500, 10.0.0.1:29500, ::1 or [::1]:29500."
        )
    return address, _port(text, port) if colon else None


def joined_place(address: str, port: int) -> str:
    """The text that `split_place` takes apart."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _is_ip(address: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(address).version == version
    except ValueError:
        return False


def _is_name(address: str) -> bool:
    numeric = _NUMERIC.fullmatch(address) is not None
    return _is_ip(address, 4) if numeric else is_host_name(address)


def _port(text: str, port: str) -> int:
    if not _DIGITS.fullmatch(port) or not 1 <= int(port) <= 65535:
        raise UserError(f"--master {text}: found the port '{port}', expected 1 to 65535.")
    return int(port)


def free_port() -> int:
    """A port of this host that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
