"""The checkpoints of a run in progress: written, thinned out, and put back into what is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from ptv2_scale.checkpoint.file_systems import FileSystemGroups
from ptv2_scale.checkpoint.recovery import newest
from ptv2_scale.checkpoint.replication import replicate_in_place
from ptv2_scale.checkpoint.shards import CheckpointShards, LocalShard, Read
from ptv2_scale.checkpoint.store import (
    TrainerState,
    prune,
    read_state,
    save,
)
from ptv2_scale.checkpoint.transaction import CheckpointNotWrittenError
from ptv2_scale.config import Checkpoint
from ptv2_scale.runtime.errors import UserError


class Trained(Protocol):
    """What is trained, as far as this rank holds it."""

    def shards(self) -> Iterable[LocalShard]:
        """This rank's shard of every trained tensor; views of the storage in use."""
        ...

    def restore(self, read: Read, updates: int) -> None:
        """Set all values and the optimizer's state, whoever wrote them.

        Args:
            read: gives any flat range of any trained tensor.
            updates: optimizer steps that led to these values.
        """
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """lr and weight_decay of each of the optimizer's groups of parameters."""
        ...


class CheckpointManager:
    """Writes and restores the checkpoints of what is trained; every rank calls its methods.

    Args:
        trained: what is trained.
        run: the run directory.
        policy: the recipe's section.
        groups: where this process stands.
        say: reports a checkpoint that could not be written.
    """

    def __init__(
        self,
        trained: Trained,
        run: Path,
        policy: Checkpoint,
        groups: FileSystemGroups,
        say: Callable[[str], None],
    ) -> None:
        self._trained, self._run, self._policy = trained, run, policy
        self._groups, self._say = groups, say
        self._kept: int | None = None

    def save(self, state: TrainerState) -> bool:
        """Write a checkpoint, unless this step has one or is none.

        Returns:
            Whether the step can be had again; False only where the policy is to go on.

        Raises:
            CheckpointNotWrittenError: it could not be written, and the policy is to stop.
        """
        if state.step in (0, self._kept):
            return True
        groups = self._trained.parameter_groups()
        state = replace(state, parameter_groups=groups, hosts=self._groups.hosts)
        try:
            save(self._run, state, self._trained.shards(), self._groups)
        except CheckpointNotWrittenError as error:
            if self._policy.on_error == "stop":
                raise
            self._say(f"warning: {error}")
            return False
        self._kept = state.step
        if self._groups.is_leader:
            prune(self._run, self._policy.keep, state.best)
        return True

    def restore(self, path: Path) -> TrainerState:
        """Put an undamaged checkpoint into what is trained; returns where it stands.

        Raises:
            UserError: the groups do not have all of it.
        """
        if self._groups.several:
            replicate_in_place(path, self._groups)
        state = read_state(path)
        self._trained.restore(CheckpointShards(path).read, state.updates)
        self._kept = state.step
        return state

    def newest(self) -> Path:
        """The newest undamaged checkpoint.

        Raises:
            UserError: there is none yet.
        """
        found = newest(self._run, self._groups)
        if found.path is None:
            raise UserError(
                f"{self._run}: there is no checkpoint yet to go back to. Lower train.lr, or set"
                " checkpoint.every so that one is written sooner."
            )
        return found.path
