"""Bringing a checkpoint together: each site gets the files that it lacks from one that has them.

Every rank takes part in every transfer, whatever went wrong on one of them.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy
import torch
import torch.distributed

from ptv2_scale.checkpoint.file_systems import FileSystemGroups
from ptv2_scale.checkpoint.manifest import Stamp, usable_manifest, write_manifest, write_synced
from ptv2_scale.checkpoint.recovery import Whole, look
from ptv2_scale.checkpoint.store import Damaged, set_aside
from ptv2_scale.checkpoint.transaction import building_path
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.runtime.atomic import sync
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.heartbeat import report_progress

T = TypeVar("T")

_PIECE = 16 << 20  # bytes sent at once
_logger = logging.getLogger(__name__)


def bring_together(folder: Path, sites: FileSystemGroups) -> None:
    """Complete a checkpoint on every site; every rank calls it.

    Raises:
        UserError: no site has one of its files, or a site cannot write.
    """
    whole = look(folder, sites)
    if isinstance(whole, str):
        raise UserError(f"{folder}: {whole}.")
    bring(whole, folder, folder, sites)


def bring(whole: Whole, source: Path, target: Path, sites: FileSystemGroups) -> None:
    """Make a checkpoint whole on every site; every rank calls it.

    Args:
        whole: what the sites have of it.
        source: where that lies.
        target: where it is to be; what is there already is completed.
        sites: where this process stands.

    Raises:
        UserError: on every rank, if a site cannot read or write; names the host.
    """
    lacking = whole.lacking[sites.number] if sites.is_leader else frozenset[str]()
    folders = sites.on_leaders(_for(target, lambda: _begin(whole, lacking, source, target)))
    folder = folders[sites.number]
    for name, sender in whole.senders.items():
        report_progress(f"bringing {name} of {target.name} to the hosts that lack it")
        stamp, rank = whole.manifest.files[name], sites.leaders[sender]
        content = _receive(source / name, stamp.bytes, rank, sites.ranks, name in lacking)
        store = partial(_store, content, stamp, folder / name)
        sites.on_leaders(_for(target, store if name in lacking else _nothing))
    sites.on_leaders(_for(target, lambda: _finish(whole, folder, target)))


def _nothing() -> None:
    """What the other sites do meanwhile."""


def _for(target: Path, action: Callable[[], T]) -> Callable[[], T]:
    """The action, what the file system refuses said as a user's error."""

    def told() -> T:
        try:
            return action()
        except OSError as error:
            raise UserError(
                f"{target}: cannot be brought together: {error.strerror or error}."
            ) from None

    return told


def _begin(whole: Whole, lacking: frozenset[str], source: Path, target: Path) -> Path:
    """Where the site's files are gathered: in their place, or under a temporary name."""
    if usable_manifest(target) == whole.manifest:
        return target
    if os.path.lexists(target):
        set_aside(Damaged(target, "other hosts have another one"))
    building = building_path(target)
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    for name in whole.manifest.files.keys() - lacking:
        shutil.copyfile(source / name, building / name)
        sync(building / name)
    return building


def _receive(path: Path, size: int, sender: int, ranks: RankContext, keep: bool) -> bytes:
    """The content of a file of rank `sender`; nothing on ranks that do not keep it."""
    kept = []
    for start in range(0, size, _PIECE):
        count = min(_PIECE, size - start)
        content = _read(path, start, count) if ranks.rank == sender else bytes(count)
        piece = torch.from_numpy(numpy.frombuffer(content, numpy.uint8).copy()).to(ranks.device)
        torch.distributed.broadcast(piece, src=sender)
        if keep:
            kept.append(piece.cpu().numpy().tobytes())
    return b"".join(kept)


def _read(path: Path, start: int, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(count).ljust(count, b"\0")
    except OSError as error:
        # The others wait for so many bytes; their hash shows that these are not the right ones.
        _logger.warning("%s: cannot be read (%s)", path, error.strerror)
        return bytes(count)


def _store(content: bytes, stamp: Stamp, path: Path) -> None:
    arriving = path.with_name(f".{path.name}.arriving")
    arriving.unlink(missing_ok=True)
    if write_synced(arriving, content) != stamp:
        raise OSError(f"{path.name} did not arrive as it was written")
    if os.path.lexists(path):
        _logger.warning("%s: was damaged; replaced by another host's", path)
    arriving.replace(path)


def _finish(whole: Whole, folder: Path, target: Path) -> None:
    if folder == target:
        return
    write_manifest(folder, whole.manifest.files)
    sync(folder)
    folder.rename(target)
    sync(target.parent)
