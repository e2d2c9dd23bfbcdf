"""What file system groups have of a checkpoint, and whether they have all of it together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ptv2_scale.checkpoint.file_systems import FileSystemGroups
from ptv2_scale.checkpoint.manifest import (
    MANIFEST,
    MISSING,
    TRAINER,
    Manifest,
    differences,
    shard_name,
    usable_manifest,
)
from ptv2_scale.checkpoint.store import Damaged, TrainerState, published, read_state


@dataclass(frozen=True)
class GroupInventory:
    """What one file system group has of a checkpoint.

    Attributes:
        manifest: what is to be there; None: nobody knows.
        wrong: files that cannot be used, and what is wrong with each.
        state: of the trainer, where it can be read.
    """

    manifest: Manifest | None
    wrong: dict[str, str]
    state: TrainerState | None = None


# What each group has, in the order of groups; None: nothing.
Inventories = Sequence[GroupInventory | None]


@dataclass(frozen=True)
class RecoveryPlan:
    """How a checkpoint can be had that the groups have undamaged, taken together.

    Attributes:
        manifest: of all its files.
        state: of the trainer.
        lacking: for each group, the files that it lacks.
        senders: for each file that some group lacks, a group that has it.
    """

    manifest: Manifest
    state: TrainerState
    lacking: tuple[frozenset[str], ...]
    senders: dict[str, int]


@dataclass(frozen=True)
class Found:
    """A checkpoint to begin from, and what was passed over on the way to it.

    Attributes:
        path: where it lies, or lay before it was copied; None: there is none.
        skipped: newer ones that cannot be used.
        plan: how it can be had.
    """

    path: Path | None
    skipped: list[Damaged]
    plan: RecoveryPlan | None = None


def newest(run: Path, groups: FileSystemGroups) -> Found:
    """The newest checkpoint of a run that the groups have undamaged; every rank calls it."""
    names = {name for own in groups.on_leaders(lambda: _names(run)) for name in own}
    skipped: list[Damaged] = []
    for name in sorted(names, reverse=True):
        folder = run / "checkpoints" / name
        found = find_plan(folder, groups)
        if isinstance(found, RecoveryPlan):
            return Found(folder, skipped, found)
        skipped.append(Damaged(folder, found))
    return Found(None, skipped)


def _names(run: Path) -> list[str]:
    return [folder.name for folder in published(run)]


def find_plan(folder: Path, groups: FileSystemGroups) -> RecoveryPlan | str:
    """How the checkpoint of a folder can be had, or why it cannot; every rank calls it."""
    inventories = groups.on_leaders(lambda: take_inventory(folder))
    return plan_recovery(inventories, groups.names, groups.hosts)


def take_inventory(folder: Path) -> GroupInventory | None:
    """What this process's group has of a checkpoint; None: nothing.

    Raises:
        UserError: its trainer's state is none, though it is as it was written.
    """
    if not os.path.lexists(folder):
        return None
    manifest = usable_manifest(folder)
    if isinstance(manifest, str):
        return GroupInventory(None, {MANIFEST: manifest})
    wrong = dict(differences(folder, manifest))
    return GroupInventory(manifest, wrong, None if TRAINER in wrong else read_state(folder))


def plan_recovery(
    inventories: Inventories, names: Sequence[str], hosts: Sequence[str]
) -> RecoveryPlan | str:
    """Whether the groups have a checkpoint together, and who sends what to whom.

    Args:
        inventories: what each group has.
        names: names of the groups.
        hosts: host names of all ranks.

    Returns:
        The first group's checkpoint that has every file undamaged somewhere; else what is wrong.
    """
    known: list[Manifest] = []
    for one in inventories:
        if one is not None and one.manifest is not None and one.manifest not in known:
            known.append(one.manifest)
    for manifest in known:
        owners = _owners(manifest, inventories)
        if all(owners.values()):
            return _plan(manifest, inventories, owners)
    if known:
        return _why(known[0], inventories, names, hosts)
    reasons = [
        (one.wrong[MANIFEST], name)
        for one, name in zip(inventories, names, strict=True)
        if one is not None
    ]
    if not reasons:
        return "there is no such directory"
    return reasons[0][0] + (f" on {reasons[0][1]}" if len(names) > 1 else "")


def _owners(manifest: Manifest, inventories: Inventories) -> dict[str, list[int]]:
    """For each file, the groups that have it undamaged."""
    holders = [(n, one) for n, one in enumerate(inventories) if one and one.manifest == manifest]
    return {
        name: [number for number, one in holders if name not in one.wrong]
        for name in manifest.files
    }


def _plan(
    manifest: Manifest, inventories: Inventories, owners: dict[str, list[int]]
) -> RecoveryPlan:
    lacking = tuple(
        frozenset(name for name, holders in owners.items() if number not in holders)
        for number in range(len(inventories))
    )
    asked = frozenset[str]().union(*lacking)
    state = inventories[owners[TRAINER][0]].state  # type: ignore[union-attr]
    assert state is not None
    return RecoveryPlan(manifest, state, lacking, {name: owners[name][0] for name in sorted(asked)})


def _why(
    manifest: Manifest, inventories: Inventories, names: Sequence[str], hosts: Sequence[str]
) -> str:
    """Which file no group has, and who had it."""
    name = next(name for name, having in _owners(manifest, inventories).items() if not having)
    holders = [
        (one, group)
        for one, group in zip(inventories, names, strict=True)
        if one is not None and one.manifest == manifest
    ]
    harm = [(one.wrong[name], group) for one, group in holders if one.wrong[name] != MISSING]
    if len(inventories) == 1:
        text = f"{name} {holders[0][0].wrong[name]}"
    elif harm:
        text = f"{name} {harm[0][0]} on {harm[0][1]}, and no other host has it"
    else:
        text = f"{name} is on none of the hosts {', '.join(dict.fromkeys(hosts))}"
    return text + _writer(name, [one.state for one, _ in holders if one.state])


def _writer(name: str, states: Sequence[TrainerState]) -> str:
    wrote = states[0].hosts if states else ()
    by_file = {shard_name(rank, len(wrote)): host for rank, host in enumerate(wrote)}
    # On one host, or where it is not known, there is nothing to tell apart.
    return f"; {by_file[name]} wrote it" if len(set(wrote)) > 1 and name in by_file else ""
