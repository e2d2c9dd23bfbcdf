"""How far a download into the hub's cache is, by the bytes that are there."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

_EVERY_S = 1.0


@contextlib.contextmanager
def report_growth(
    repository: Path,
    commit: str,
    needed: Mapping[str, int],
    on_progress: Callable[[int, int], None],
) -> Iterator[None]:
    """Report how far a download is, at its beginning, every second, and at its end.

    Args:
        repository: the item's folder in the cache.
        commit: the commit that is downloaded.
        needed: bytes of each file; empty: not known.
        on_progress: called with bytes that are there, and bytes of all.

    Raises:
        OSError: there is not enough room.
    """
    total = sum(needed.values())
    snapshot = repository / "snapshots" / commit
    there = sum(size for name, size in needed.items() if (snapshot / name).exists())
    _require_room(repository, total - there)
    before = _bytes(repository)
    over = threading.Event()

    def report() -> None:
        on_progress(min(there + max(_bytes(repository) - before, 0), total), total)

    def watch() -> None:
        while not over.wait(_EVERY_S):
            report()

    report()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    on_progress(total, total)


def _require_room(folder: Path, size: int) -> None:
    """Say before hours of a download that it will not fit."""
    while not folder.is_dir():
        folder = folder.parent
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _bytes(repository: Path) -> int:
    """Bytes of the files themselves, finished or not; snapshots are links to them."""
    found = 0
    for path in (repository / "blobs").glob("*"):
        with contextlib.suppress(OSError):  # it was unfinished, and is not any more
            found += path.stat().st_size
    return found
