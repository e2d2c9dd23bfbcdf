"""Hostfiles that would do harm, as the command line reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from shells import fake_program

from ptv2_scale.launchers.hostfile import read_hostfile
from ptv2_scale.runtime.errors import UserError


@pytest.mark.parametrize(
    "line",
    ["n1; touch pwned slots=1", "$(touch pwned) slots=1", "-oProxyCommand=touch slots=1",
     "'n 1' slots=1", "n1\tslots=1 x", "n1 slots=0", "n1 slots=1\rn2", "^file slots=1"],
)  # fmt: skip
def test_hostile_hostfiles_start_nothing(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hosts").write_text(f"{line}\n")
    done = subprocess.run(
        [sys.executable, "-m", "ptv2_scale", "launch", "demo", "--hostfile", "hosts"],
        env=fake_program(tmp_path, "ssh"), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("ptv2-scale: hosts:1: found")
    assert not (tmp_path / "seen").exists()
    assert not (tmp_path / "pwned").exists()
    with pytest.raises(UserError):
        read_hostfile(tmp_path / "hosts")
