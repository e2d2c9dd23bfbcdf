"""One process at a time has a trial, and none that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ptv2_scale.sweep.lease import STALE_S, Lease, is_held

HOLDS = """
import sys, time
from pathlib import Path
from ptv2_scale.sweep.lease import Lease
assert Lease.take(Path(sys.argv[1])) is not None
print("held", flush=True)
time.sleep(60)
"""


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    other = subprocess.Popen([sys.executable, "-c", HOLDS, path], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    assert is_held(path)
    assert Lease.take(path) is None
    other.send_signal(signal.SIGKILL)
    other.wait()
    other.stdout.close()
    assert not is_held(path)
    lease = Lease.take(path)
    assert lease is not None
    assert Lease.take(path) is None  # not even for this process
    lease.release()
    assert Lease.take(path) is not None


def test_a_file_that_is_not_here_is_held_elsewhere(tmp_path: Path) -> None:
    assert is_held(tmp_path / "none")


@pytest.mark.parametrize(("age", "held"), [(STALE_S / 2, True), (STALE_S * 2, False)])
def test_another_host_is_known_by_the_time_of_the_file(
    age: float, held: bool, tmp_path: Path
) -> None:
    # A host that shares the folder but not its locks.
    path = tmp_path / "lock"
    path.write_text("another-host/4026531836")
    now = path.stat().st_mtime
    os.utime(path, (now - age, now - age))
    assert is_held(path) == held
    assert (Lease.take(path) is None) == held
