"""Hosts of a file, by ssh or pdsh: options that do not go together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from launching import spec

from ptv2_scale.launchers.remote import Ssh
from ptv2_scale.runtime.errors import UserError


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--nodes 2", "--nodes: not with --hostfile"),
        ("--node-rank 0", "--node-rank: not with --hostfile"),
        ("--backend accelerate", "not with --hostfile"),
        ("--nproc 2", "slots=N"),
        ("--ssh-config nowhere", "no such file"),
        ("--master n1:99999", "expected 1 to 65535"),
    ],
)
def test_options_that_do_not_go_together(words: str, said: str, tmp_path: Path) -> None:
    hostfile = tmp_path / "hosts"
    hostfile.write_text("n1 slots=2\nn2 slots=2\n")
    with pytest.raises(UserError, match=said):
        spec("--hostfile", str(hostfile), *words.split())


@pytest.mark.skipif(shutil.which("pdsh") is None, reason="no pdsh here")
def test_pdsh_takes_no_path_with_blanks(tmp_path: Path) -> None:
    hostfile, config = tmp_path / "hosts", tmp_path / "a config"
    hostfile.write_text("n1 slots=2\n")
    config.touch()
    words = ("--hostfile", str(hostfile), "--ssh-config", str(config))
    with pytest.raises(UserError, match="--transport ssh"):
        spec(*words)
    assert spec(*words, "--transport", "ssh").remote == Ssh(config)


def test_a_missing_pdsh_is_named_only_where_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostfile = tmp_path / "hosts"
    hostfile.write_text("n1 slots=2\nn2 slots=2\n")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="pdsh is not installed here"):
        spec("--hostfile", str(hostfile), "--transport", "pdsh")
    assert len(spec("--hostfile", str(hostfile)).channels("x")) == 2


def test_host_keys_are_the_users_own_matter() -> None:
    options = " ".join(Ssh(Path("/c")).options).lower()
    assert "hostkey" not in options
    assert "knownhosts" not in options
