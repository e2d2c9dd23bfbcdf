"""A disk that fills up, turns read-only or disappears in the middle of a save."""

from __future__ import annotations

import contextlib
import ctypes
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty import remount
from job import Job
from points import EVERYTHING, FIRST_RANK, THIRD_SAVE, at_length

from ptv2_scale.checkpoint.manifest import damage

_LIBC = ctypes.CDLL(None, use_errno=True)
_DETACH = 2


@contextlib.contextmanager
def mounted(place: Path) -> Iterator[Path]:
    """A file system of 8 MB in memory."""
    place.mkdir(parents=True)
    if _LIBC.mount(b"none", str(place).encode(), b"tmpfs", 0, b"size=8m"):
        pytest.skip("no file system can be mounted here (not root, or a container)")
    try:
        yield place
    finally:
        _LIBC.umount2(str(place).encode(), _DETACH)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk") as place:
        yield place


@pytest.fixture
def on_disk(disk: Path, whole: Job) -> Job:
    """The job with its run directory on that disk."""
    shutil.copytree(whole.folder / "data", disk / "data")
    job = Job(disk, name="run")
    shutil.copy(whole.folder / "recipe.yaml", disk / "recipe.yaml")
    return job


def kept_valid(job: Job) -> list[str]:
    folders = [job.run / "checkpoints" / name for name in job.checkpoints()]
    return [folder.name for folder in folders if folder.name[0] != "." and damage(folder) is None]


POINTS = [number for number in THIRD_SAVE if "rename" not in FIRST_RANK[number - 1]]


@pytest.mark.parametrize("number", POINTS if EVERYTHING else [THIRD_SAVE[5]])
def test_no_space_left_stops_the_run_and_older_checkpoints_stay(
    number: int, on_disk: Job, whole: Job, record: Callable[..., None]
) -> None:
    fault = {"rank": 0, "file": number, "do": "fill", "place": str(on_disk.folder)}
    group = on_disk.start(fault=fault)
    codes = group.codes()
    operation = FIRST_RANK[number - 1]
    if codes == [0, 0]:
        # Nothing was left to be written of this checkpoint, and the later one was small enough.
        pytest.fail(f"the run did not notice a full disk before '{operation}'")
    assert codes == [2, 2], group.text()
    assert "could not be written: No space left on device" in group.text() or (
        "not enough free space" in group.text()
    )
    assert "It needs" in group.text()
    assert "are free" in group.text()
    assert "Traceback" not in group.text()
    left = kept_valid(on_disk)
    assert left[:2] == ["step-00000004", "step-00000008"]
    (on_disk.folder / "filler").unlink()
    on_disk.go_on()
    assert on_disk.result() == whole.result()
    record("disk", what=f"full before '{operation}'", codes=codes, left=left[-1], policy="stop")


@at_length
def test_a_disk_that_turns_read_only(job: Job, whole: Job, record: Callable[..., None]) -> None:
    # Of the checkpoints alone: a file system with a file open for writing cannot be remounted.
    with mounted(job.run / "checkpoints") as place:
        fault = {"rank": 0, "file": THIRD_SAVE[3], "do": "read_only", "place": str(place)}
        group = job.start("--resume", "auto", fault=fault)
        codes = group.codes()
        assert codes == [2, 2], group.text()
        assert "could not be written: Read-only file system" in group.text()
        assert "Traceback" not in group.text()
        remount(str(place), read_only=False)
        left = kept_valid(job)
        assert left == ["step-00000004", "step-00000008"]
        job.go_on()
        assert job.result() == whole.result()
    record("disk", what="remounted read-only", codes=codes, left=left[-1], policy="stop")


@at_length
def test_a_directory_that_disappears(job: Job, whole: Job, record: Callable[..., None]) -> None:
    place = job.run / "checkpoints"
    fault = {"rank": 0, "file": THIRD_SAVE[0], "do": "vanish", "place": str(place)}
    group = job.start(fault=fault)
    codes = group.codes()
    assert codes == [2, 2], group.text()
    assert "No such file or directory" in group.text()
    assert "Traceback" not in group.text()
    assert not place.exists(), "nothing is written behind a mount that has gone"
    (job.run / "gone").rename(place)
    left = kept_valid(job)
    assert left == ["step-00000004", "step-00000008"]
    job.go_on()
    assert job.result() == whole.result()
    record("disk", what="its directory gone", codes=codes, left=left[-1], policy="stop")


def test_with_go_on_a_run_outlives_a_full_disk(
    on_disk: Job, whole: Job, record: Callable[..., None]
) -> None:
    # Full from the third save to the fourth.
    fault = {"rank": 0, "file": THIRD_SAVE[3], "do": "fill", "place": str(on_disk.folder)}
    group = on_disk.start("checkpoint.on_error=go_on", fault=fault)
    on_disk.wait_for(10)
    while "could not be written" not in group.text():
        assert group.processes[0].poll() is None, group.text()
    with contextlib.suppress(FileNotFoundError):
        (on_disk.folder / "filler").unlink()
    assert group.codes() == [0, 0], group.text()
    assert group.text().count("could not be written") == 1
    assert on_disk.result() == whole.result()
    left = kept_valid(on_disk)
    assert left[-1] == "step-00000016"
    record("disk", what="full, then freed", codes=[0, 0], left=left[-1], policy="go_on")


def test_too_little_space_is_noticed_before_anything_is_written(on_disk: Job) -> None:
    (on_disk.folder / "filler").write_bytes(bytes(7_500_000))
    group = on_disk.start()
    assert group.codes() == [2, 2], group.text()
    assert "not enough free space" in group.text()
    assert not list((on_disk.run / "checkpoints").iterdir())
