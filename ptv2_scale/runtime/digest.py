"""Hashes of files' contents."""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOCK = 1 << 22  # bytes


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
