"""Folders that a process has only while it lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from ptv2_scale.runtime.scratch import ScratchFolder

OTHER = """
import signal, sys
from pathlib import Path
from ptv2_scale.runtime.scratch import ScratchFolder
folder = ScratchFolder(Path(sys.argv[1]))
(folder.path / "file").write_text("mine")
print(folder.path, flush=True)
signal.pause()
"""


def test_each_process_has_its_own_until_it_ends(tmp_path: Path) -> None:
    shared = tmp_path / "new" / "shared"
    first, second = ScratchFolder(shared), ScratchFolder(shared)
    assert first.path != second.path
    (first.path / "inner").mkdir()
    first.remove()
    first.remove()  # once more is nothing
    assert list(shared.iterdir()) == [second.path]
    second.remove()


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "not-ours").mkdir()
    argv = [sys.executable, "-c", OTHER, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        own = ScratchFolder(tmp_path)
        assert (theirs / "file").read_text() == "mine"  # it lives
        os.kill(other.pid, signal.SIGKILL)
    third = ScratchFolder(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "not-ours", own.path, third.path])
    own.remove()
    third.remove()
