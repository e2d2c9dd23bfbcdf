"""Hashes of files' contents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 1 << 22  # bytes
_SAMPLE = 1 << 16  # bytes
_SAMPLES = 64  # of a large file, one after the other at equal distances, its ends among them


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hex.

    Args:
        path: the file, of any size.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def samples(path: Path) -> Iterator[bytes]:
    """The whole of a small file; of a large one so much that a copy cut short would show.

    Raises:
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _SAMPLES * _SAMPLE:
            yield file.read()
            return
        for number in range(_SAMPLES):
            file.seek((size - _SAMPLE) * number // (_SAMPLES - 1))
            yield file.read(_SAMPLE)


def appearance(path: Path) -> str:
    """A file's size, time of change and samples of its content.

    A time alone tells nothing where it was set back, or copied with the file.

    Raises:
        OSError: it cannot be read.
    """
    stat, seen = path.stat(), hashlib.sha256()
    for block in samples(path):
        seen.update(block)
    return f"{stat.st_size} {stat.st_mtime_ns} {seen.hexdigest()}"
