"""An attempt to write a checkpoint: whatever rank it fails on, all ranks raise the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ptv2_scale.checkpoint.file_systems import FileSystemGroups
from ptv2_scale.distributed.ranks import gather
from ptv2_scale.runtime.errors import UserError

T = TypeVar("T")


class CheckpointNotWrittenError(UserError):
    """A checkpoint could not be written; older ones are untouched."""


def building_path(final: Path) -> Path:
    """Where a checkpoint is written before it is published."""
    return final.with_name(f".{final.name}.building")


def _nothing() -> None:
    """What the other ranks do meanwhile."""


@dataclass(frozen=True)
class Attempt:
    """Writing one checkpoint; every rank calls its methods, which raise on all ranks alike.

    Attributes:
        final: where it is to be.
        needed: bytes it takes on this site.
        sites: where this process stands.
    """

    final: Path
    needed: int
    sites: FileSystemGroups

    def on_leaders(self, action: Callable[[], None], undo: Callable[[], object] = _nothing) -> None:
        """Act on each site's first rank; undo it where only others failed.

        Raises:
            CheckpointNotWrittenError: the file system refused it somewhere.
        """
        own = action if self.sites.is_leader else _nothing
        problems = self._problems(own)[1]
        if any(problems) and self.sites.is_leader and problems[self.sites.ranks.rank] is None:
            with suppress(OSError):
                undo()
        self._raise_any(problems)

    def on_all(self, action: Callable[[], T]) -> list[T]:
        """Act on every rank; every rank gets all results.

        Raises:
            CheckpointNotWrittenError: see `on_leaders`.
        """
        results, problems = self._problems(action)
        self._raise_any(problems)
        return results

    def publish(self, complete: Callable[[], None], rename: Callable[[], None]) -> None:
        """Publish on all sites or on none.

        Args:
            complete: writes what is missing yet, under the temporary name.
            rename: gives it its own.

        Raises:
            CheckpointNotWrittenError: see `on_leaders`.
        """

        def both() -> None:
            complete()
            rename()

        if self.sites.several:
            # No site publishes before all could.
            self.on_leaders(complete)
            self.on_leaders(rename, lambda: self.final.rename(building_path(self.final)))
        else:
            self.on_leaders(both)

    def _problems(self, action: Callable[[], T]) -> tuple[list[T], list[str | None]]:
        outcome: tuple[T | None, str | None]
        try:
            outcome = action(), None
        except OSError as error:
            outcome = None, self._problem(error)
        outcomes = gather(outcome, self.sites.ranks)
        return [result for result, _ in outcomes], [text for _, text in outcomes]  # type: ignore[misc]

    def _problem(self, error: OSError) -> str:
        rank = self.sites.ranks.rank
        where = f"rank {rank}" + (f" on {self.sites.hosts[rank]}" if self.sites.several else "")
        return (
            f"{error.strerror or error} ({where}). It needs"
            f" {_size(self.needed)}{_free_text(self.final.parent)}"
        )

    def _raise_any(self, problems: list[str | None]) -> None:
        found = next((text for text in problems if text), None)
        if found is None:
            return
        if self.sites.is_leader:
            shutil.rmtree(building_path(self.final), ignore_errors=True)
        raise CheckpointNotWrittenError(
            f"{self.final}: the checkpoint could not be written: {found}. Older checkpoints are"
            " untouched. Make room or mend the file system and go on with --resume auto; with"
            " checkpoint.on_error: go_on a run goes on without this checkpoint."
        )


def _free_text(folder: Path) -> str:
    try:
        return f", and {_size(shutil.disk_usage(folder).free)} are free"
    except OSError:
        return ""


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB ({count} bytes)"
