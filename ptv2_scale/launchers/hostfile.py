"""Hostfiles as DeepSpeed has them, `name slots=N` a line, read strictly.

DeepSpeed takes any word for a host and hands it to ssh and to shells; here a name is letters,
digits, dots, dashes and underscores, and cannot be taken for an option.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import read_text
from ptv2_scale.runtime.nodelist import is_host_name

MAX_HOSTFILE_BYTES = 1 << 20  # ten thousand hosts need a third of it
MAX_SLOTS = 1024

_SLOTS = re.compile(r"slots=([0-9]{1,5})", re.ASCII)
_AROUND = re.compile(
    r"(?:(?P<user>[A-Za-z0-9._-]{1,64})@)?(?P<host>[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?",
    re.ASCII,
)
_GRAMMAR = (
    "expected 'NAME slots=N': a name of letters, digits, '.', '_' and '-' that begins and ends with"
    f" a letter or digit, and N from 1 to {MAX_SLOTS}"
)


@dataclass(frozen=True)
class Host:
    """One line of a hostfile.

    Attributes:
        name: that ssh knows the host by.
        slots: ranks it takes, one a GPU.
    """

    name: str
    slots: int


def read_hostfile(path: Path) -> tuple[Host, ...]:
    """The hosts of a hostfile, in its order.

    Args:
        path: lines of `name slots=N`; blank lines and what follows a # are left out.

    Raises:
        UserError: it cannot be read, a line is not of that form, a host comes twice, or there is
            none; names file and line.
    """
    lines: dict[str, int] = {}
    hosts: list[Host] = []
    text = read_text(path, MAX_HOSTFILE_BYTES, "a hostfile")
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.partition("#")[0].split()
        if words:
            host = _host(words, f"{path}:{number}")
            if host.name in lines:
                raise UserError(
                    f"{path}:{number}: found the host '{host.name}' of line {lines[host.name]}"
                    " again. Keep one line a host."
                )
            lines[host.name] = number
            hosts.append(host)
    if not hosts:
        raise UserError(f"{path}: no host in it; {_GRAMMAR}, on one line or more.")
    return tuple(hosts)


def _host(words: list[str], place: str) -> Host:
    slots = _SLOTS.fullmatch(words[-1])
    name = words[0]
    if len(words) != 2 or slots is None or not is_host_name(name):
        found = " ".join(words)[:100]
        raise UserError(f"{place}: found '{found}', {_GRAMMAR}.{_for_ssh(name)}")
    count = int(slots.group(1))
    if not 1 <= count <= MAX_SLOTS:
        raise UserError(f"{place}: found slots={count}; allowed: 1 to {MAX_SLOTS}.")
    return Host(name, count)


def _for_ssh(name: str) -> str:
    """Where ssh is told a user or port that stands around a host's name."""
    match = _AROUND.fullmatch(name)
    user, host, port = ("", "", "") if match is None else match.groups("")
    if not is_host_name(host) or not (user or port):
        return ""
    settings = [f"User {user}" if user else "", f"Port {port}" if port else ""]
    named = " and ".join(f"'{one}'" for one in settings if one)
    return (
        f" Write {host} alone, and put {named} below 'Host {host}' in ~/.ssh/config, or in a"
        " file that --ssh-config names."
    )
