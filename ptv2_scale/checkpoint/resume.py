"""Opening a run directory: fresh, or where an earlier process of the same run stopped."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ptv2_scale.checkpoint.compatibility import RunContent, changes, check_resumable
from ptv2_scale.checkpoint.file_systems import FileSystemGroups
from ptv2_scale.checkpoint.recovery import Found, RecoveryPlan, find_plan, newest
from ptv2_scale.checkpoint.replication import replicate
from ptv2_scale.checkpoint.run_directory import (
    IN_USE,
    LOCK,
    NewDirectory,
    check_directory,
    store_recipe,
    stored_recipe,
)
from ptv2_scale.checkpoint.store import (
    Damaged,
    TrainerState,
    checkpoint_path,
    remove_unfinished,
    set_aside,
)
from ptv2_scale.config import RunConfig
from ptv2_scale.runtime.errors import UserError

_locks: list[int] = []  # descriptors

# "auto", "never", or the path of a checkpoint.
Resume = str


def find_start(path: Path, resume: Resume, now: RunContent, groups: FileSystemGroups) -> Found:
    """Find what a run is to begin from; writes nothing; every rank calls it.

    Args:
        path: the run directory.
        resume: "never" wants a directory that is new or empty; "auto" takes the newest valid
            checkpoint, if any; else the path of a checkpoint.
        now: what the run reads.
        groups: where this process stands.

    Raises:
        UserError: nothing may be overwritten, the directory is not this run's, the checkpoint that
            was named is damaged, or it is of another backbone, recipe, tokenizer or other rows.
    """
    groups.on_leaders(lambda: check_directory(path, resume))
    found = _find(path, resume, groups)
    if found.path is not None and found.plan is not None:
        check_resumable(found.plan.state, now, found.path)
    elif resume == "auto":
        groups.on_leaders(lambda: _check_same_recipe(path, now.config))
    return found


def _check_same_recipe(path: Path, config: RunConfig) -> None:
    """Refuse the directory of another run that was stopped before its first checkpoint."""
    changed = changes(stored_recipe(path) or {}, config)
    if changed:
        raise UserError(
            f"{path}: is the directory of another run, without a checkpoint:"
            f" {'; '.join(changed)}. Delete it, or choose another one with run=PATH."
        )


def open_run(
    path: Path, found: Found, config: RunConfig, groups: FileSystemGroups, new: NewDirectory
) -> Found:
    """Make or reopen a run directory, in every group; every rank calls it.

    Args:
        path: the run directory.
        found: what to begin from, of this run or another.
        config: the recipe, written to `recipe.yaml`.
        groups: where this process stands.
        new: learns what is made here.

    Returns:
        What to begin from, of this run, whole in every group.

    Raises:
        UserError: nothing can be written.
    """
    skipped = groups.on_leaders(lambda: _open_here(path, found.skipped, config, new))[0]
    if found.path is None or found.plan is None:
        return Found(None, skipped)
    own = path / "checkpoints" / found.path.name
    replicate(found.plan, found.path, own, groups)
    _replicate_best(found.plan.state, found.path.parent, path, groups)
    return Found(own, skipped, found.plan)


def _open_here(
    path: Path, skipped: list[Damaged], config: RunConfig, new: NewDirectory
) -> list[Damaged]:
    try:
        new.make()
        _refuse_links(path)
        _lock(path)
        new.take()
        (path / "checkpoints").mkdir(exist_ok=True)
        store_recipe(path, config)
        remove_unfinished(path)
        return [_aside(damaged) for damaged in skipped]
    except OSError as error:
        new.remove()
        raise UserError(
            f"{path}: the run directory cannot be written ({error.strerror})."
        ) from None


def _refuse_links(path: Path) -> None:
    """A run writes and deletes inside its own directory only; the directory itself may be a link.

    Raises:
        UserError: names the link.
    """
    for entry in path.iterdir():
        if entry.is_symlink():
            raise UserError(
                f"{entry}: is a link, and a run does not write through links inside its directory."
                " Remove it, or choose another directory with run=PATH."
            )


def unlock_runs() -> None:
    """Let other processes have the run directories that this one has opened."""
    while _locks:
        os.close(_locks.pop())


def _lock(path: Path) -> None:
    """Keep this run to this process until `unlock_runs`, or for as long as it lives.

    Raises:
        UserError: another process of this host, or of a shared file system with locks, has it.
    """
    handle = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _locks.append(handle)
    except (BlockingIOError, PermissionError):
        os.close(handle)
        raise UserError(
            f"{path}: {IN_USE}. Wait for it or stop it; two runs need two"
            " directories (run=PATH). A host that died can leave its lock on a network file system:"
            f" if nothing runs there any more, delete {path / LOCK}."
        ) from None
    except OSError:
        # Some network file systems have no locks.
        os.close(handle)


def _aside(damaged: Damaged) -> Damaged:
    if not os.path.lexists(damaged.path):  # another group has it
        return damaged
    return Damaged(set_aside(damaged), damaged.reason)


def _find(path: Path, resume: Resume, groups: FileSystemGroups) -> Found:
    if resume == "never":
        return Found(None, [])
    if resume == "auto":
        found = newest(path, groups)
        if found.path is None and found.skipped:
            raise UserError(
                "no checkpoint is left to resume from: " + "; ".join(map(str, found.skipped))
            )
        return found
    named = Path(resume)
    plan = find_plan(named, groups)
    if isinstance(plan, str):
        raise UserError(f"--resume {resume}: not a valid checkpoint: {plan}.")
    return Found(named, [], plan)


def _replicate_best(
    state: TrainerState, checkpoints: Path, run: Path, groups: FileSystemGroups
) -> None:
    """Replicate the best checkpoint too, where it can be had."""
    if state.best is None or state.best.step == state.step:
        return
    target = checkpoint_path(run, state.best.step)
    plan = find_plan(checkpoints / target.name, groups)
    if isinstance(plan, RecoveryPlan):
        replicate(plan, checkpoints / target.name, target, groups)
