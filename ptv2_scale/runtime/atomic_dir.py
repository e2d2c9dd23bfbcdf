"""A folder that appears whole or not at all: built beside its place, then renamed.

The unfinished folder of `NAME` is `.NAME.unfinished`; it stays after an interruption, and one
process at a time has it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import sync


@contextmanager
def unfinished(out: Path) -> Iterator[Path]:
    """The unfinished folder of `out`, made or found again, for this process alone.

    Raises:
        UserError: `out` exists, another process is at it, or the disk refuses something.
    """
    if out.exists() or out.is_symlink():
        raise UserError(f"{out}: exists already. Name a folder that is not there yet.")
    folder = out.absolute().with_name(f".{out.absolute().name}.unfinished")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            yield folder
    except OSError as error:
        raise UserError(
            f"{folder}: could not be finished ({error}). What is complete there is kept: mend that"
            " and give the same command again."
        ) from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # The lock goes with the process, however that ends.
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError(f"{folder}: another process is at work on it.") from None
    finally:
        os.close(handle)


def check_space(folder: Path, needed: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        UserError: fewer than `needed` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder}: {needed} bytes are needed here and {free} are free. Make room, or name a"
            " folder on another disk."
        )


def write_text(path: Path, text: str) -> None:
    """Write a small file that is there whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    sync(partial)
    partial.replace(path)


def publish(folder: Path, out: Path) -> None:
    """Give the finished folder its name."""
    sync(folder)
    folder.rename(out)
    sync(out.absolute().parent)
