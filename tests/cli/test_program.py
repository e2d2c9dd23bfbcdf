"""What a command says hangs on what it is, not on a RANK that some launcher has left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptv2_scale.cli import main
from ptv2_scale.cli.launch_events import LaunchPrinter
from ptv2_scale.launchers.events import OutputLine, RunFailed

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


def test_what_a_rank_has_just_said_is_not_said_again(capsys: pytest.CaptureFixture[str]) -> None:
    died = "rank 1 on b was killed or crashed, while the others were at step 3."
    printer = LaunchPrinter()
    printer(OutputLine("stderr", f"ptv2-scale: {died}\n"))
    printer(RunFailed(2, f"{died}\nlog: runs/x/logs/rank-00001.log", "no restarts were asked for"))
    said = capsys.readouterr().err
    assert said.count(died) == 1
    assert said.splitlines()[1:] == [
        "ptv2-scale launch: the run failed after step 2; no restarts were asked for",
        "log: runs/x/logs/rank-00001.log",
    ]
    unheard = LaunchPrinter()
    unheard(RunFailed(2, died, "no restarts were asked for"))
    assert capsys.readouterr().err.splitlines()[1] == died


def test_a_key_is_for_rows_of_jsonl(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["predict", "run", "--input", "a", "--output", "b", "--format", "glue", "--key", "k"]
    assert main(asked) == 2
    assert "--key: --format glue writes the leaderboard's file" in capsys.readouterr().err
