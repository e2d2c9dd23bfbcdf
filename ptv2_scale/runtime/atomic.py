"""Files and folders that appear whole or not at all: made beside their place, then renamed.

A file is made under a hidden name that ends with `TEMPORARY`; the unfinished folder of `NAME` is
`.NAME.unfinished`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ptv2_scale.runtime.errors import UserError

TEMPORARY = ".partial"


@contextmanager
def atomic_file(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """A file to be written, which takes its name when the block ends; after an error it is removed.

    Args:
        path: the file; one that is there is replaced.
        durable: wait until the content is on the disk before the file takes its name.

    Raises:
        OSError: it cannot be written.
    """
    # Other processes and other hosts may be writing the same file.
    made = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}{TEMPORARY}")
    try:
        with made.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        made.replace(path)
    except BaseException:
        made.unlink(missing_ok=True)
        raise


@contextmanager
def new_file(path: Path, called: str) -> Iterator[BinaryIO]:
    """A new file, which appears whole when the block ends; after an error there is none.

    Args:
        path: the file, which must not exist.
        called: what messages call it.

    Raises:
        UserError: it exists, or cannot be written.
    """
    refuse_existing(path, called)
    try:
        with atomic_file(path) as file:
            yield file
            refuse_existing(path, called)
    except OSError as error:
        raise UserError(_unwritable(path, called, error)) from None


def working_file(path: Path) -> Path:
    """Where work on a file is kept until it is done."""
    return path.with_name(f".{path.name}.begun{TEMPORARY}")


def refuse_existing(path: Path, called: str) -> None:
    """Refuse to write where something is.

    Raises:
        UserError: it exists.
    """
    if os.path.lexists(path):
        raise UserError(f"{called}: exists already, and nothing is overwritten. Name another one.")


def _unwritable(path: Path, called: str, error: OSError) -> str:
    return f"{called}: cannot be written ({path}: {error.strerror})."


def write_atomically(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write a small file; see `atomic_file`.

    Args:
        path: the file.
        content: bytes, or text that is written as UTF-8.
        durable: see `atomic_file`.

    Raises:
        OSError: it cannot be written.
    """
    with atomic_file(path, durable=durable) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_new(path: Path, content: bytes, called: str, *, overwrite: bool) -> None:
    """Write a file where none is, or where it may be replaced.

    Args:
        path: the file.
        content: of it.
        called: what messages call it: "--output curves.png".
        overwrite: whether one that is there is replaced.

    Raises:
        UserError: it exists, or cannot be written.
    """
    if not overwrite:
        refuse_existing(path, called)
    try:
        write_atomically(path, content)
    except OSError as error:
        raise UserError(_unwritable(path, called, error)) from None


def replace_own(path: Path, content: str, mark: str) -> None:
    """Write a file that people may have put another one in place of.

    Args:
        path: the file; its folder is made where it is not there.
        content: text; what was no UTF-8 on the command line is written as it was.
        mark: words near the beginning of the content, by which a file of ours is known.

    Raises:
        UserError: something else is there, or it cannot be written.
    """
    try:
        if path.is_symlink() or (path.exists() and mark not in path.read_text()[:4000]):
            raise UserError(f"{path}: is there already, and was not made here. Move it away.")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, os.fsencode(content))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be written: {error}.") from None


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """The unfinished folder of `path`, for this process alone; renamed when the block ends.

    After an interruption or an error it stays, and the next call goes on with what is in it.

    Args:
        path: the folder to be made.

    Raises:
        UserError: `path` exists, another process has the folder, or the disk refuses something.
    """
    if path.exists() or path.is_symlink():
        raise UserError(f"{path}: exists already. Name a folder that is not there yet.")
    folder = path.absolute().with_name(f".{path.absolute().name}.unfinished")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            yield folder
            sync(folder)
            folder.rename(path)
            sync(path.absolute().parent)
    except OSError as error:
        raise UserError(
            f"{folder}: could not be finished ({error}). What is complete there is kept: fix that"
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

    Args:
        folder: a folder on that disk.
        needed: bytes that are to be written.

    Raises:
        UserError: fewer bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder}: {needed} bytes are needed here and {free} are free. Make room, or name a"
            " folder on another disk."
        )


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk.

    Args:
        path: the file or folder.

    Raises:
        OSError: it is not there, or cannot be written.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def made_folder(path: Path, called: str) -> None:
    """Make a folder, with those around it, unless it is there.

    Raises:
        UserError: it cannot be made; `called` is what the message calls it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{called} {path}: cannot be made ({error.strerror}).") from None
