"""Why a host that was asked gave no answer, from what ssh, env and Python say."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from ptv2_scale.launchers.remote import Answer
from ptv2_scale.runtime.errors import printable

_SSH_FAILED = 255

# What ssh says -> what it means, what to do. `{host}` is the host's name.
_SSH = (
    (
        "Permission denied",
        "it does not accept this user's key",
        "See that `ssh -o BatchMode=yes {host} true` works: ssh-copy-id {host}, or ssh-add.",
    ),
    (
        "Host key verification failed",
        "its host key is not known here, or has changed",
        "Log in once by hand (`ssh {host}`) and compare the key, or have it put into known_hosts.",
    ),
    (
        "Could not resolve hostname",
        "this name is not known here",
        "Correct it in the hostfile, or put it into DNS, /etc/hosts or ~/.ssh/config.",
    ),
    (
        "Connection refused",
        "no ssh server listens there",
        "Start sshd there, or name its port in ~/.ssh/config.",
    ),
    (
        "(timed out|No route to host|unreachable|not responding|Connection closed|reset by peer)",
        "it cannot be reached",
        "See that it is up (`ssh {host} true`), or take it out of the hostfile.",
    ),
)
# What is missing there, by env's and Python's own words.
_MISSING = (
    (
        "(?m)^env: cannot change directory",
        f"there is no folder {Path.cwd()}",
        f"Make {Path.cwd()} on it, or launch from a folder that all hosts have.",
    ),
    (
        "(?m)^env: .*No such file or directory",
        f"there is no {sys.executable}",
        "Install the same Python environment at the same path.",
    ),
    (
        "No module named ",
        "its Python lacks a package",
        f"There: {sys.executable} -m pip install, as here.",
    ),
)


@dataclass(frozen=True)
class HostFailure:
    """Why a host gave no answer.

    Attributes:
        reason: without the host's name.
        fix: what to do.
        lost: whether it is the host that does not answer, not something that it lacks.
    """

    reason: str
    fix: str
    lost: bool


def explain(answer: Answer) -> HostFailure:
    """What to tell of a host that gave no answer."""
    words = [printable(line) for line in answer.err.strip().splitlines()]
    said = f" ({words[-1][-300:]})" if words else ""
    if answer.code is None:
        fix = "See what it is busy with: log in and look at `top` and `dmesg`."
        return HostFailure(f"no answer in time{said}", fix, True)
    if answer.code == 0:
        fix = "Bring the same version, or the same commit, of ptv2_scale to each host."
        return HostFailure(f"its answer cannot be understood{said}", fix, False)
    lost = answer.code == _SSH_FAILED
    for pattern, meaning, fix in _SSH if lost else _MISSING:
        if re.search(pattern, answer.err):
            return HostFailure(f"{meaning}{said}", fix.format(host=answer.host), lost)
    fix = f"Try on it by hand: {sys.executable} -m ptv2_scale doctor"
    return HostFailure(f"ended with {answer.code}{said}", fix, True)
