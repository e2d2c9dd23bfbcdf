"""Why a host that was asked gave no answer, from what ssh, env and Python say."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from ptv2_scale.errors import printable
from ptv2_scale.launchers.doctor.finding import Finding
from ptv2_scale.launchers.remote import Answer

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
        "cannot change directory",
        f"there is no folder {Path.cwd()}",
        f"Make {Path.cwd()} on it, or launch from a folder that all hosts have.",
    ),
    (
        "(No such file or directory|not found)",
        f"there is no {sys.executable}",
        "Install the same Python environment at the same path.",
    ),
    (
        "No module named '?(ptv2_scale|[A-Za-z0-9_.]+)",
        "its Python lacks a package",
        f"There: {sys.executable} -m pip install, as here.",
    ),
)


def explain(answer: Answer) -> Finding:
    """What to tell of a host that gave no answer."""
    words = [printable(line) for line in answer.err.strip().splitlines()]
    said = f" ({words[-1][-300:]})" if words else ""
    if answer.code is None:
        text = f"{answer.host}: no answer in time{said}"
        return _finding(text, "See what it is busy with: log in and look at `top` and `dmesg`.")
    known = _SSH if answer.code == _SSH_FAILED else _MISSING
    for pattern, meaning, mend in known:
        if re.search(pattern, answer.err):
            return _finding(f"{answer.host}: {meaning}{said}", mend.format(host=answer.host))
    text = f"{answer.host}: ended with {answer.code}{said}"
    return _finding(text, f"See what `ssh {answer.host} {sys.executable} -V` says.")


def _finding(text: str, mend: str) -> Finding:
    return Finding("reached", "FAIL", text, mend, lost=True)
