"""Writing a checkpoint on all ranks or on none: whatever rank fails, all ranks raise the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ptv2_scale.checkpoint.file_systems import FileSystemGroups
from ptv2_scale.distributed.leaders import Outcome, first_problem, share_outcomes
from ptv2_scale.runtime.errors import UserError

T = TypeVar("T")


class CheckpointNotWrittenError(UserError):
    """A checkpoint could not be written; older ones are untouched."""


def building_path(final: Path) -> Path:
    """Where a checkpoint is written before it is published."""
    return final.with_name(f".{final.name}.building")


def _nothing() -> None:
    """What there is to undo of an action that leaves nothing."""


@dataclass(frozen=True)
class CheckpointTransaction:
    """Writing one checkpoint; every rank calls its methods, which raise on all ranks alike.

    Attributes:
        final: where the checkpoint is to be.
        needed: bytes that it takes in this group's file system.
        groups: where this process stands.
    """

    final: Path
    needed: int
    groups: FileSystemGroups

    def on_leaders(self, action: Callable[[], None], undo: Callable[[], object] = _nothing) -> None:
        """Act on each group's leader; undo it where only others failed.

        Raises:
            CheckpointNotWrittenError: the file system refused it somewhere.
        """
        leads, rank = self.groups.is_leader, self.groups.ranks.rank
        outcomes = self._share(action if leads else None)
        if first_problem(outcomes) and leads and outcomes[rank].problem is None:
            with suppress(OSError):
                undo()
        self._raise_any(outcomes)

    def on_all(self, action: Callable[[], T]) -> list[T]:
        """Act on every rank; every rank gets all results.

        Raises:
            CheckpointNotWrittenError: see `on_leaders`.
        """
        outcomes = self._share(action)
        self._raise_any(outcomes)
        return [outcome.value for outcome in outcomes]  # type: ignore[misc]

    def publish(self, complete: Callable[[], None], rename: Callable[[], None]) -> None:
        """Publish in all groups or in none.

        Args:
            complete: writes what is missing yet, under the temporary name.
            rename: gives it its own.

        Raises:
            CheckpointNotWrittenError: see `on_leaders`.
        """

        def both() -> None:
            complete()
            rename()

        if self.groups.several:
            # No group publishes before all could.
            self.on_leaders(complete)
            self.on_leaders(rename, lambda: self.final.rename(building_path(self.final)))
        else:
            self.on_leaders(both)

    def _share(self, action: Callable[[], T] | None) -> list[Outcome[T]]:
        return share_outcomes(action, self.groups.ranks, OSError, self._problem)

    def _problem(self, error: OSError) -> str:
        rank = self.groups.ranks.rank
        where = f"rank {rank}" + (f" on {self.groups.hosts[rank]}" if self.groups.several else "")
        return (
            f"{error.strerror or error} ({where}). It needs"
            f" {_size(self.needed)}{_free_text(self.final.parent)}"
        )

    def _raise_any(self, outcomes: Sequence[Outcome[T]]) -> None:
        found = first_problem(outcomes)
        if found is None:
            return
        if self.groups.is_leader:
            shutil.rmtree(building_path(self.final), ignore_errors=True)
        raise CheckpointNotWrittenError(
            f"{self.final}: the checkpoint could not be written: {found}. Older checkpoints are"
            " untouched. Make room or fix the file system and go on with --resume auto; with"
            " checkpoint.on_error: go_on a run goes on without this checkpoint."
        )


def _free_text(folder: Path) -> str:
    try:
        return f", and {_size(shutil.disk_usage(folder).free)} are free"
    except OSError:
        return ""


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB ({count} bytes)"
