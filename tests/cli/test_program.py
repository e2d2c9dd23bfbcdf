"""What a command says hangs on what it is, not on a RANK that some launcher has left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptv2_scale.cli import main

COMMANDS = {
    "inspect": ("nosuch.yaml",),
    "launch": ("nosuch.yaml", "--nproc", "2"),
    "doctor": ("nosuch.yaml",),
    "fetch": ("nosuch.yaml",),
    "export": ("nosuch", "out"),
    "convert": ("nosuch", "out"),
}
LEFT_BEHIND = [
    {"RANK": "1"},
    {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"},
    {"RANK": "one", "WORLD_SIZE": ""},
    {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"},
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("left", LEFT_BEHIND, ids=str)
def test_a_command_of_no_rank_always_speaks(
    command: str,
    left: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    assert main([command, *COMMANDS[command]]) == 2
    said = capsys.readouterr().err
    assert said.count("ptv2-scale: nosuch") == 1
    assert "Traceback" not in said


@pytest.mark.parametrize("left", LEFT_BEHIND[2:] + [{"RANK": "1"}, {"WORLD_SIZE": "two"}], ids=str)
def test_a_rank_whose_place_is_not_known_speaks(
    left: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    assert main(["evaluate", "nosuch"]) == 2
    assert "ptv2-scale: " in capsys.readouterr().err
