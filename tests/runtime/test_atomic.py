"""Files and folders that appear whole or not at all, against what the file system shows."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from ptv2_scale.runtime.atomic import (
    TEMPORARY,
    atomic_dir,
    atomic_file,
    new_file,
    write_atomically,
)
from ptv2_scale.runtime.errors import UserError


class Stopped(BaseException):
    """As KeyboardInterrupt is one: no Exception."""


def test_a_file_keeps_its_old_content_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_text("old")
    with atomic_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
        (made,) = set(tmp_path.iterdir()) - {path}
        assert made.name.startswith(".")
        assert made.name.endswith(TEMPORARY)
        # Folders are searched for files by their ending, and such a search finds hidden ones.
        assert list(tmp_path.glob("*.json")) == [path]
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, ValueError, Stopped])
def test_an_error_leaves_nothing_but_the_old_content(
    error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with atomic_file(path) as file:
            file.write(b"ne")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("durable", [True, False])
def test_what_is_durable_is_on_the_disk_before_it_has_its_name(
    durable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "file", []

    def fsync(handle: int) -> None:
        # All of it has left this process's own buffer by then.
        synced.append((path.exists(), os.fstat(handle).st_size))

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(path, "für", durable=durable)
    assert synced == ([(False, 4)] if durable else [])
    assert path.read_bytes() == "für".encode()


def test_a_folder_has_its_name_at_the_end_and_goes_on_after_an_error(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def stop() -> None:
        with atomic_dir(out) as folder:
            (folder / "first").write_text("1")
            raise Stopped

    with pytest.raises(Stopped):
        stop()
    assert not out.exists()
    with atomic_dir(out) as folder:
        (folder / "second").write_text("2")
        assert not out.exists()
    assert {path.name: path.read_text() for path in out.iterdir()} == {"first": "1", "second": "2"}
    assert list(tmp_path.iterdir()) == [out]
    with pytest.raises(UserError, match="exists already"), atomic_dir(out):
        pass


def _enter(out: Path, found: Any) -> None:
    try:
        with atomic_dir(out):
            found.put("entered")
    except UserError as error:
        found.put(str(error))


def test_one_process_at_a_time_has_a_folder(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    found = spawn.Queue()
    with atomic_dir(tmp_path / "out"):
        other = spawn.Process(target=_enter, args=(tmp_path / "out", found))
        other.start()
        assert "another process is at work" in found.get(timeout=60)
        other.join()


def test_a_new_file_leaves_alone_what_appears_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with pytest.raises(UserError, match="--output out: exists"), new_file(path, "--output out"):
        path.write_text("precious")
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]
