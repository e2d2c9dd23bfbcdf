"""Hostfiles that would do harm, as the command line reads them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from shells import fake_program

from ptv2_scale.cli import main
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


@pytest.mark.parametrize(
    ("name", "host", "lines"),
    [
        ("me@node1", "node1", ["User me"]),
        ("node1:2222", "node1", ["Port 2222"]),
        ("me.too@node1.cluster:2222", "node1.cluster", ["User me.too", "Port 2222"]),
    ],
)
def test_a_user_or_port_belongs_to_ssh(
    name: str, host: str, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts, config = tmp_path / "hosts", tmp_path / "config"
    hosts.write_text(f"{name} slots=8\n")
    assert main(["launch", "demo", "--hostfile", str(hosts), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert f"hosts:1: found '{name} slots=8'" in error
    assert f"Write {host} alone" in error
    advice = re.findall(r"'((?:User|Port|Host) [^']*)'", error)
    assert advice == [*lines, f"Host {host}"]
    # What ssh itself makes of the advice.
    config.write_text("\n".join([advice[-1], *advice[:-1]]) + "\n")
    made = subprocess.run(
        ["ssh", "-G", "-F", str(config), host], capture_output=True, text=True, check=True
    )
    assert {one.lower() for one in lines} <= set(made.stdout.splitlines())


@pytest.mark.parametrize("line", ["n1", "n1 slots", "n1 slots=1 x", "a@b@c slots=1", "@n1 slots=1"])
def test_other_lines_have_no_advice_about_ssh(line: str, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text(f"{line}\n")
    with pytest.raises(UserError) as caught:
        read_hostfile(tmp_path / "hosts")
    assert ".ssh/config" not in str(caught.value)
