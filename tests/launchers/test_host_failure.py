"""Why a host gave no answer, from what ssh, env and Python say."""

from __future__ import annotations

import pytest

from ptv2_scale.launchers.host_failure import explain
from ptv2_scale.launchers.remote import Answer


@pytest.mark.parametrize(
    ("code", "said", "reason", "fix", "lost"),
    [
        (255, "ssh: Could not resolve hostname n9: unknown", "not known here", "hostfile", True),
        (255, "ssh: connect to host n9 port 22: Connection refused", "no ssh", "sshd", True),
        (255, "ssh: connect to host n9 port 22: Connection timed out", "reached", "n9", True),
        (125, "env: cannot change directory to '/job': No such", "no folder", "Make", False),
        (127, "env: '/opt/python': No such file or directory", "there is no /", "Python", False),
        (1, "python: No module named ptv2_scale", "lacks a package", "pip install", False),
        (1, "FileNotFoundError: [Errno 2] No such file or directory: 'x'", "ended", "hand", True),
        (None, "", "no answer in time", "log in", True),
        (0, "", "cannot be understood", "the same version", False),
        (1, "Traceback\nOSError: \x1b[31m", r"ended with 1 (OSError: \x1b", "by hand", True),
    ],
)
def test_a_failure_is_explained(
    code: int | None, said: str, reason: str, fix: str, lost: bool
) -> None:
    found = explain(Answer("n9", code, b"", said))
    assert reason in found.reason
    assert fix in found.fix
    assert found.lost == lost
