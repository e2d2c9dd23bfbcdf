"""What the sites of a run have of a checkpoint, and whether they have all of it together."""

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
    part_name,
    usable_manifest,
)
from ptv2_scale.checkpoint.store import Damaged, TrainerState, published, read_state


@dataclass(frozen=True)
class Copy:
    """What one site has of a checkpoint.

    Attributes:
        manifest: what is to be there; None: nobody knows.
        wrong: files that cannot be used, and what is wrong with each.
        state: of the trainer, where it can be read.
    """

    manifest: Manifest | None
    wrong: dict[str, str]
    state: TrainerState | None = None


@dataclass(frozen=True)
class Whole:
    """A checkpoint that the sites have undamaged, taken together.

    Attributes:
        manifest: of all its files.
        state: of the trainer.
        lacking: for each site, the files that it lacks.
        senders: for each file that some site lacks, a site that has it.
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
        whole: what the sites have of it.
    """

    path: Path | None
    skipped: list[Damaged]
    whole: Whole | None = None


def newest(run: Path, sites: FileSystemGroups) -> Found:
    """The newest checkpoint of a run that the sites have undamaged; every rank calls it."""
    names = {name for site in sites.on_leaders(lambda: _names(run)) for name in site}
    skipped: list[Damaged] = []
    for name in sorted(names, reverse=True):
        folder = run / "checkpoints" / name
        found = look(folder, sites)
        if isinstance(found, Whole):
            return Found(folder, skipped, found)
        skipped.append(Damaged(folder, found))
    return Found(None, skipped)


def _names(run: Path) -> list[str]:
    return [folder.name for folder in published(run)]


def look(folder: Path, sites: FileSystemGroups) -> Whole | str:
    """The checkpoint of a folder, or why it cannot be had; every rank calls it."""
    return judge(sites.on_leaders(lambda: survey(folder)), sites.names, sites.hosts)


def survey(folder: Path) -> Copy | None:
    """What this site has of a checkpoint; None: nothing.

    Raises:
        UserError: its trainer's state is none, though it is as it was written.
    """
    if not os.path.lexists(folder):
        return None
    manifest = usable_manifest(folder)
    if isinstance(manifest, str):
        return Copy(None, {MANIFEST: manifest})
    wrong = dict(differences(folder, manifest))
    return Copy(manifest, wrong, None if TRAINER in wrong else read_state(folder))


def judge(copies: Sequence[Copy | None], names: Sequence[str], hosts: Sequence[str]) -> Whole | str:
    """Whether the sites have a checkpoint together, and who sends what to whom.

    Args:
        copies: what each site has.
        names: of the sites.
        hosts: of all ranks.

    Returns:
        The first site's checkpoint that has every file undamaged somewhere; else what is wrong.
    """
    known: list[Manifest] = []
    for copy in copies:
        if copy is not None and copy.manifest is not None and copy.manifest not in known:
            known.append(copy.manifest)
    for manifest in known:
        owners = _owners(manifest, copies)
        if all(owners.values()):
            return _whole(manifest, copies, owners)
    if known:
        return _why(known[0], copies, names, hosts)
    reasons = [
        (copy.wrong[MANIFEST], name)
        for copy, name in zip(copies, names, strict=True)
        if copy is not None
    ]
    if not reasons:
        return "there is no such directory"
    return reasons[0][0] + (f" on {reasons[0][1]}" if len(names) > 1 else "")


def _owners(manifest: Manifest, copies: Sequence[Copy | None]) -> dict[str, list[int]]:
    """For each file, the sites that have it undamaged."""
    holders = [(n, copy) for n, copy in enumerate(copies) if copy and copy.manifest == manifest]
    return {
        name: [number for number, copy in holders if name not in copy.wrong]
        for name in manifest.files
    }


def _whole(
    manifest: Manifest, copies: Sequence[Copy | None], owners: dict[str, list[int]]
) -> Whole:
    lacking = tuple(
        frozenset(name for name, sites in owners.items() if number not in sites)
        for number in range(len(copies))
    )
    asked = frozenset[str]().union(*lacking)
    state = copies[owners[TRAINER][0]].state  # type: ignore[union-attr]
    assert state is not None
    return Whole(manifest, state, lacking, {name: owners[name][0] for name in sorted(asked)})


def _why(
    manifest: Manifest, copies: Sequence[Copy | None], names: Sequence[str], hosts: Sequence[str]
) -> str:
    """Which file no site has, and who had it."""
    name = next(name for name, sites in _owners(manifest, copies).items() if not sites)
    holders = [
        (copy, site)
        for copy, site in zip(copies, names, strict=True)
        if copy is not None and copy.manifest == manifest
    ]
    harm = [(copy.wrong[name], site) for copy, site in holders if copy.wrong[name] != MISSING]
    if len(copies) == 1:
        text = f"{name} {holders[0][0].wrong[name]}"
    elif harm:
        text = f"{name} {harm[0][0]} on {harm[0][1]}, and no other host has it"
    else:
        text = f"{name} is on none of the hosts {', '.join(dict.fromkeys(hosts))}"
    return text + _writer(name, [copy.state for copy, _ in holders if copy.state])


def _writer(name: str, states: Sequence[TrainerState]) -> str:
    wrote = states[0].hosts if states else ()
    by_file = {part_name(rank, len(wrote)): host for rank, host in enumerate(wrote)}
    # On one host, or where it is not known, there is nothing to tell apart.
    return f"; {by_file[name]} wrote it" if len(set(wrote)) > 1 and name in by_file else ""
