"""Replicating a checkpoint: each group gets the files that it lacks from one that has them.

Every rank takes part in every transfer, whatever went wrong on one of them. Files are of any size:
they are sent, checked and written piece by piece.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy
import torch
import torch.distributed

from ptv2_scale.checkpoint.file_systems import FileSystemGroups
from ptv2_scale.checkpoint.manifest import Stamp, usable_manifest, write_manifest, write_synced
from ptv2_scale.checkpoint.recovery import RecoveryPlan, find_plan
from ptv2_scale.checkpoint.store import Damaged, set_aside
from ptv2_scale.checkpoint.transaction import building_path
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.runtime.atomic import sync
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.heartbeat import report_progress

T = TypeVar("T")

_PIECE = 16 << 20  # bytes sent at once
_logger = logging.getLogger(__name__)


def replicate_in_place(folder: Path, groups: FileSystemGroups) -> None:
    """Complete a checkpoint in every group; every rank calls it.

    Raises:
        UserError: no group has one of its files, or a group cannot write.
    """
    plan = find_plan(folder, groups)
    if isinstance(plan, str):
        raise UserError(f"{folder}: {plan}.")
    replicate(plan, folder, folder, groups)


def replicate(plan: RecoveryPlan, source: Path, target: Path, groups: FileSystemGroups) -> None:
    """Make a checkpoint whole in every group; every rank calls it.

    Args:
        plan: who sends what to whom.
        source: where the groups have the checkpoint.
        target: where it is to be; what is there already is completed.
        groups: where this process stands.

    Raises:
        UserError: on every rank, if a group cannot read or write; names the host.
    """
    lacking = plan.lacking[groups.index] if groups.is_leader else frozenset[str]()
    folders = groups.on_leaders(_for(target, lambda: _begin(plan, lacking, source, target)))
    folder = folders[groups.index]
    for name, sender in plan.senders.items():
        report_progress(f"replicating {name} of {target.name} to the hosts that lack it")
        stamp, rank = plan.manifest.files[name], groups.leaders[sender]
        pieces = _pieces(source / name, stamp.bytes, rank, groups.ranks)
        arriving = folder / name if name in lacking else None
        _transfer(pieces, stamp, arriving, target, groups)
    groups.on_leaders(_for(target, lambda: _finish(plan, folder, target)))


def _for(target: Path, action: Callable[[], T]) -> Callable[[], T]:
    """The action, what the file system refuses said as a user's error."""

    def described() -> T:
        try:
            return action()
        except OSError as error:
            raise UserError(f"{target}: cannot be replicated: {error.strerror or error}.") from None

    return described


def _begin(plan: RecoveryPlan, lacking: frozenset[str], source: Path, target: Path) -> Path:
    """Where the group's files are gathered: in their place, or under a temporary name."""
    if usable_manifest(target) == plan.manifest:
        return target
    if os.path.lexists(target):
        set_aside(Damaged(target, "other hosts have another one"))
    building = building_path(target)
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    for name in plan.manifest.files.keys() - lacking:
        shutil.copyfile(source / name, building / name)
        sync(building / name)
    return building


def _transfer(
    pieces: Iterator[memoryview],
    stamp: Stamp,
    path: Path | None,
    target: Path,
    groups: FileSystemGroups,
) -> None:
    """Take part in sending a file, and store it under `path` where that is not None."""

    def take_part() -> None:
        try:
            if path is not None:
                _store(pieces, stamp, path)
        finally:
            # The other ranks wait for this one, whatever it could not write.
            for _ in pieces:
                pass

    if not groups.is_leader:
        take_part()
    groups.on_leaders(_for(target, take_part))


def _pieces(path: Path, size: int, sender: int, ranks: RankContext) -> Iterator[memoryview]:
    """The content of a file of rank `sender`; every rank goes through it to its end."""
    for start in range(0, size, _PIECE):
        count = min(_PIECE, size - start)
        content = _read(path, start, count) if ranks.rank == sender else bytearray(count)
        piece = torch.from_numpy(numpy.frombuffer(content, numpy.uint8)).to(ranks.device)
        torch.distributed.broadcast(piece, src=sender)
        report_progress(f"replicating {path.name}")
        yield piece.cpu().numpy().data


def _read(path: Path, start: int, count: int) -> bytearray:
    content = bytearray(count)
    try:
        with path.open("rb") as file:
            file.seek(start)
            file.readinto(content)
    except OSError as error:
        # The others wait for so many bytes; their hash shows that these are not the right ones.
        _logger.warning("%s: cannot be read (%s)", path, error.strerror)
    return content


def _store(pieces: Iterator[memoryview], stamp: Stamp, path: Path) -> None:
    arriving = path.with_name(f".{path.name}.arriving")
    arriving.unlink(missing_ok=True)
    if write_synced(arriving, pieces) != stamp:
        raise OSError(f"{path.name} did not arrive as it was written")
    if os.path.lexists(path):
        _logger.warning("%s: was damaged; replaced by another host's", path)
    arriving.replace(path)


def _finish(plan: RecoveryPlan, folder: Path, target: Path) -> None:
    if folder == target:
        return
    write_manifest(folder, plan.manifest.files)
    sync(folder)
    folder.rename(target)
    sync(target.parent)
