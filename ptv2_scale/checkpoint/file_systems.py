"""File system groups: ranks that see the same run directory, by one host or a shared file system.

Where hosts have no file system in common each group keeps a run directory of its own, and its
leader, the first rank, does there what rank 0 does on a shared one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from ptv2_scale.distributed.leaders import run_on
from ptv2_scale.distributed.ranks import RankContext, gather
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.launch_context import host_name
from ptv2_scale.runtime.shared_fs_probe import nearest_folder, new_probe_name

T = TypeVar("T")


@dataclass(frozen=True)
class FileSystemGroups:
    """The groups of a run, from where this process stands.

    Attributes:
        ranks: where this process stands.
        leader_of: for each rank, the first rank of its group.
        hosts: name of each rank's host.
    """

    ranks: RankContext
    leader_of: tuple[int, ...]
    hosts: tuple[str, ...]

    @property
    def leader(self) -> int:
        """First rank of this process's group."""
        return self.leader_of[self.ranks.rank]

    @property
    def is_leader(self) -> bool:
        """Whether this process writes what its group has once."""
        return self.ranks.rank == self.leader

    @property
    def leaders(self) -> list[int]:
        """First rank of each group."""
        return sorted(set(self.leader_of))

    @property
    def index(self) -> int:
        """This process's group, from 0."""
        return self.leaders.index(self.leader)

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return len(self.leaders) > 1

    @property
    def names(self) -> list[str]:
        """Each group by its leader's host."""
        return [self.hosts[leader] for leader in self.leaders]

    def on_leaders(self, action: Callable[[], T]) -> list[T]:
        """Run `action` on each group's leader; every rank calls it.

        Returns:
            The results in the order of groups, on every rank.

        Raises:
            UserError: on every rank, if it was raised on one; with several groups it names the
                host.
        """
        results = run_on(action if self.is_leader else None, self.ranks, self._with_host)
        return [results[leader] for leader in self.leaders]  # type: ignore[misc]

    def _with_host(self, error: UserError) -> str:
        return f"{self.hosts[self.leader]}: {error}" if self.several else f"{error}"


def alone() -> FileSystemGroups:
    """This process by itself, where nothing is being run."""
    return FileSystemGroups(RankContext(0, 1, 0, 1, torch.device("cpu")), (0,), (host_name(),))


def find_file_systems(run: Path, ranks: RankContext) -> FileSystemGroups:
    """Find out which ranks see the same run directory; every rank calls it.

    Args:
        run: the run directory, which may not be there yet.
        ranks: where this process stands.

    Raises:
        UserError: nothing can be written there; names the host.
    """
    views = gather((host_name(), _view()), ranks)
    hosts = tuple(name for name, _ in views)
    apart = FileSystemGroups(ranks, tuple(map(views.index, views)), hosts)
    if not apart.several:
        return apart
    return FileSystemGroups(ranks, _group(apart, _sight(run, apart)), hosts)


def _view() -> str:
    """Equal for two processes that must see the same files; other ones may, too."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{os.stat('/proc/self/ns/mnt').st_ino}"


def _group(apart: FileSystemGroups, seen: Sequence[tuple[bool, ...]]) -> tuple[int, ...]:
    """For each rank, the first rank of those whose hosts have seen the same marks."""
    sight = dict(zip(apart.leaders, seen, strict=True))
    first = {leader: next(one for one in sight if sight[one] == sight[leader]) for leader in sight}
    return tuple(first[leader] for leader in apart.leader_of)


def _sight(run: Path, apart: FileSystemGroups) -> list[tuple[bool, ...]]:
    """For each host, which hosts' marks it sees, in the order of hosts."""
    mark = nearest_folder(run) / new_probe_name()
    try:
        probes = apart.on_leaders(lambda: _set(mark))
        # Not Path.exists, which raises where a folder may not be read.
        seen = apart.on_leaders(lambda: tuple(map(os.path.exists, probes)))
    finally:
        if apart.is_leader:
            with suppress(OSError):
                mark.unlink()
    # Whoever looks next whether the directory is empty must not find one.
    gather(None, apart.ranks)
    return seen


def _set(mark: Path) -> Path:
    try:
        mark.touch()
    except OSError as error:
        raise UserError(f"{mark.parent}: cannot be written ({error.strerror}).") from None
    return mark
