"""The runs of a sweep, from the lines of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptv2_scale.launchers.array import read_trials
from ptv2_scale.runtime.errors import UserError


def test_lines_of_a_sweep(tmp_path: Path) -> None:
    path = tmp_path / "sweep"
    path.write_text("# all\n\ntrain.lr=1 'task.text=a # b'  # one\nrun=mine\n")
    assert read_trials(path, Path("runs/x")) == (
        ("train.lr=1", "task.text=a # b", "run=runs/x-0000"),
        ("run=mine",),
    )


@pytest.mark.parametrize(
    ("text", "reported"),
    [("", "no run in it"), ("a=1\nb", ":2: found 'b', expected"), ("a='", ":1: no closing q"),
     ("--resume=x", "expected key=value"), ("run=a\nrun=a", ":2: found run=a of line 1 again")],
)  # fmt: skip
def test_mistakes_in_a_sweep(text: str, reported: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep"
    path.write_text(text)
    with pytest.raises(UserError, match=reported):
        read_trials(path, Path("x"))
