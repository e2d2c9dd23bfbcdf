"""Marks: files that a host leaves in a folder, so that others can see whether they share it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def new_probe_name() -> str:
    """The name of a mark that no host has asked for before.

    Network file systems remember for a while what was not there.
    """
    return f".ptv2-scale-{secrets.token_hex(8)}"


def nearest_folder(path: Path) -> Path:
    """The deepest folder of a path that is there."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


@contextmanager
def marked(mark: Path) -> Iterator[None]:
    """Leave a mark, for so long as this lasts.

    Raises:
        OSError: nothing can be written there.
    """
    mark.touch()
    try:
        yield
    finally:
        with suppress(OSError):
            mark.unlink()
