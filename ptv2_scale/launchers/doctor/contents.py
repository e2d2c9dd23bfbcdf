"""Whether hosts have the same files: whole where they are small, by samples where they are not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from ptv2_scale.hub import is_model_file
from ptv2_scale.launchers.doctor.facts import PathFacts
from ptv2_scale.runtime.digest import samples

_BLOCK = 1 << 16


def facts_of_path(path: Path) -> PathFacts:
    """A file, read whole; or a folder with the files of a model, large ones by samples."""
    try:
        if path.is_dir():
            files = sorted(one for one in path.iterdir() if is_model_file(one.name))
            return facts_of_files(path, files)
        return _file(path)
    except OSError as error:
        return PathFacts(problem=error.strerror or str(error))


def _file(path: Path) -> PathFacts:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return PathFacts(digest.hexdigest(), path.stat().st_size, _identity([path]))


def facts_of_files(folder: Path, files: Sequence[Path]) -> PathFacts:
    """Files of a folder.

    Raises:
        OSError: one cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    for path in files:
        size += path.stat().st_size
        digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
        for block in samples(path):
            digest.update(block)
    return PathFacts(digest.hexdigest(), size, _identity(files))


def _identity(files: Sequence[Path]) -> str:
    """Copies on disks of their own have other numbers and times; a shared file has one of each."""
    found = [(one.st_ino, one.st_ctime_ns) for one in map(os.stat, files)]
    return hashlib.sha256(repr(found).encode()).hexdigest()
