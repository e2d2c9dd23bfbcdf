"""DeepSpeed's extensions: a start after a kill -9 neither hangs nor disturbs a living builder."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ptv2_scale.cli import main
from ptv2_scale.engine import jit
from ptv2_scale.runtime.errors import UserError

BATON = "deepspeed_shm_comm/lock"
HOLD_BATON = """
    import os, sys, time
    from torch.utils.file_baton import FileBaton
    assert FileBaton(sys.argv[1]).try_acquire()
    print("held", flush=True)
    time.sleep(600)
"""
HOLD_GUARD = """
    import sys, time
    from pathlib import Path
    from ptv2_scale.engine.jit import extension_guard
    with extension_guard(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(600)
"""
WORK_IN_FOLDER = """
    import os, sys, time
    os.chdir(sys.argv[1])
    print("held", flush=True)
    time.sleep(600)
"""
START = """
    import time
    from ptv2_scale.engine.jit import prepare_extensions
    prepare_extensions()
    began = time.monotonic()
    import deepspeed
    deepspeed.init_distributed(verbose=False)
    print("started", time.monotonic() - began)
"""

Spawn = Callable[[str, Path], "subprocess.Popen[str]"]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start a script with one argument; it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, argument: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(script), str(argument)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def _holds(process: subprocess.Popen[str], wait_s: float = 50) -> bool:
    """Whether it says "held" within that time."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], wait_s)
    return bool(ready) and process.stdout.readline().strip() == "held"


def _kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def _kill_while_it_holds(process: subprocess.Popen[str]) -> None:
    assert _holds(process)
    _kill(process)


@pytest.fixture
def baton(tmp_path: Path) -> Path:
    """Where PyTorch puts its baton for DeepSpeed's communication extension."""
    path = tmp_path.resolve() / BATON
    path.parent.mkdir()
    return path


def _seconds_to_enter(root: Path) -> float:
    began = time.monotonic()
    with jit.extension_guard(root):
        return time.monotonic() - began


@pytest.mark.timeout(60)
def test_baton_of_killed_process_is_removed(spawn: Spawn, baton: Path, tmp_path: Path) -> None:
    _kill_while_it_holds(spawn(HOLD_BATON, baton))
    assert baton.exists()
    assert _seconds_to_enter(tmp_path) < 5
    assert not baton.exists()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("script", [HOLD_BATON, WORK_IN_FOLDER])
def test_baton_in_use_is_waited_for(
    spawn: Spawn, baton: Path, tmp_path: Path, script: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A holder that is alive, or the compiler that a killed holder left behind."""
    user = spawn(script, baton if script is HOLD_BATON else baton.parent)
    assert _holds(user)
    baton.touch(exist_ok=True)
    seen: list[bool] = []

    def end_user_later(seconds: float) -> None:
        seen.append(baton.exists())
        if len(seen) == 5:
            _kill(user)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jit.time, "sleep", end_user_later)
        _seconds_to_enter(tmp_path)
    assert all(seen[:5])
    assert not baton.exists()
    assert f"process {user.pid}" in caplog.text


@pytest.mark.timeout(60)
def test_guard_dies_with_its_holder(spawn: Spawn, tmp_path: Path) -> None:
    _kill_while_it_holds(spawn(HOLD_GUARD, tmp_path))
    assert _seconds_to_enter(tmp_path) < 5


@pytest.mark.timeout(60)
def test_guard_keeps_others_out(spawn: Spawn, tmp_path: Path) -> None:
    first = spawn(HOLD_GUARD, tmp_path)
    assert _holds(first)
    second = spawn(HOLD_GUARD, tmp_path)
    assert not _holds(second, wait_s=3)
    _kill(first)
    assert _holds(second)


@pytest.mark.timeout(300)
def test_two_ranks_start_over_a_dead_baton(spawn: Spawn) -> None:
    """The real thing, with the extension that DeepSpeed loads: two ranks, none may hang."""
    root = jit._extensions_folder()
    baton = root.resolve() / BATON
    baton.parent.mkdir(parents=True, exist_ok=True)
    with jit.extension_guard(root):
        _kill_while_it_holds(spawn(HOLD_BATON, baton))
    assert _start_two_ranks() == [0, 0]
    assert not baton.exists()


def _start_two_ranks() -> list[int]:
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()}
    command = [sys.executable, "-c", textwrap.dedent(START)]
    ranks = [
        subprocess.Popen(
            command,
            env={**os.environ, "DS_ACCELERATOR": "cpu", **shared, "RANK": r, "LOCAL_RANK": r},
        )
        for r in "01"
    ]
    try:
        return [rank.wait(timeout=240) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.parametrize("writable", [True, False])
def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, writable: bool) -> None:
    monkeypatch.delenv("TORCH_EXTENSIONS_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: writable)
    expected = tmp_path if writable else tmp_path / "cache" / "ptv2_scale"
    assert jit._extensions_folder() == expected / "torch_extensions"


def test_folder_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    assert jit._extensions_folder() == tmp_path


def _in_the_way(path: Path) -> Path:
    path.write_text("a file")
    return path


def _circle(path: Path) -> Path:
    path.symlink_to(path)
    return path


UNUSABLE = {
    "a file": (_in_the_way, "File exists"),
    "inside a file": (lambda path: _in_the_way(path) / "x", "Not a directory"),
    "a link to itself": (_circle, "Too many levels|File exists"),
    "too long": (lambda path: path / ("x" * 300), "File name too long"),
    "no place for files": (lambda path: Path("/proc/x"), "No such file|Permission denied"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_folder_is_the_users_mistake(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, reason = UNUSABLE[name]
    folder = make(tmp_path / "extensions")
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(folder))
    assert main(["train", "demo", f"run={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert f"ptv2-scale: {folder}: DeepSpeed's extensions cannot be kept there" in error
    assert re.search(rf"\(({reason}).*\)\. TORCH_EXTENSIONS_DIR is {re.escape(str(folder))}", error)
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(UserError, match="Permission denied"), jit.extension_guard(tmp_path):
        pass


@pytest.mark.parametrize("systems", [False, True], ids=["none elsewhere", "another one on PATH"])
def test_ninja_of_the_environment_is_taken(
    systems: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Two versions that take turns would compile everything anew at each start.
    own, other = tmp_path / "bin", tmp_path / "usr"
    for folder in (own, other) if systems else (own,):
        folder.mkdir()
        (folder / "ninja").touch(mode=0o755)
    program = own / "ninja"
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("PATH", str(other))
    jit._put_ninja_on_path()
    assert shutil.which("ninja") == str(program)
