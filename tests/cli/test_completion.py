"""A script of shell completion, tried in a real bash."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ptv2_scale.cli import main
from ptv2_scale.cli.completion import SHELLS

# Presses TAB behind the words: what readline would do with the function that the script registers.
_TAB = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
$(complete -p ptv2-scale | sed 's/.*-F \\([^ ]*\\).*/\\1/') ptv2-scale "${COMP_WORDS[-1]}" ""
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(script: Path, folder: Path, *words: str) -> set[str]:
    argv = ["bash", "-c", _TAB, "bash", str(script), "ptv2-scale", *words]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True)
    return {word.strip() for word in done.stdout.split("\n") if word.strip()}


def test_bash_completes_commands_options_choices_and_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("shtab", reason="shtab is not installed (extra `completion`)")
    assert main(["completion", "bash"]) == 0
    (tmp_path / "complete.bash").write_text(capsys.readouterr().out)
    (tmp_path / "mine.yaml").touch()
    script = tmp_path / "complete.bash"
    assert completed(script, tmp_path, "tr") == {"train"}
    assert completed(script, tmp_path, "launch", "--max") == {"--max-restarts"}
    assert completed(script, tmp_path, "evaluate", "run", "--split", "va") == {"validation"}
    assert completed(script, tmp_path, "recipes", "co") >= {"copy"}
    assert completed(script, tmp_path, "train", "mi") == {"mine.yaml"}


def test_every_shell_gets_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="shtab is not installed (extra `completion`)")
    for shell in SHELLS:
        assert main(["completion", shell]) == 0
        assert "ptv2-scale" in capsys.readouterr().out


def test_without_shtab_the_way_to_it_is_named(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install 'ptv2_scale[completion]'" in capsys.readouterr().err
