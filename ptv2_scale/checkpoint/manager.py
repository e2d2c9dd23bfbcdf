"""The checkpoints of a run in progress: written, thinned out, and put back into the engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ptv2_scale.checkpoint.file_systems import FileSystemGroups
from ptv2_scale.checkpoint.recovery import newest
from ptv2_scale.checkpoint.replication import bring_together
from ptv2_scale.checkpoint.shards import Parts
from ptv2_scale.checkpoint.store import (
    TrainerState,
    prune,
    read_state,
    save,
)
from ptv2_scale.checkpoint.transaction import CheckpointNotWrittenError
from ptv2_scale.config import Checkpoint
from ptv2_scale.engine.reporting import Reporter
from ptv2_scale.engine.state import local_parts, restore
from ptv2_scale.runtime.errors import UserError

_KEPT_OF_GROUPS = ("lr", "weight_decay")


class CheckpointManager:
    """Keeps what an engine trains; every rank calls its methods.

    Args:
        engine: DeepSpeed's.
        run: the run directory.
        policy: the recipe's section.
        sites: where this process stands.
        reporter: to tell of a checkpoint that could not be written.
    """

    def __init__(
        self,
        engine: Any,
        run: Path,
        policy: Checkpoint,
        sites: FileSystemGroups,
        reporter: Reporter,
    ) -> None:
        self._engine, self._run, self._policy = engine, run, policy
        self._sites, self._reporter = sites, reporter
        self._kept: int | None = None

    def save(self, state: TrainerState) -> bool:
        """Write a checkpoint, unless the engine's step has one or is none.

        Returns:
            Whether the step can be had again; False only where the policy is to go on.

        Raises:
            CheckpointNotWrittenError: it could not be written, and the policy is to stop.
        """
        if state.step in (0, self._kept):
            return True
        groups = [
            {key: group[key] for key in _KEPT_OF_GROUPS}
            for group in self._engine.optimizer.param_groups
        ]
        state = replace(state, parameter_groups=groups, hosts=self._sites.hosts)
        try:
            save(self._run, state, list(local_parts(self._engine)), self._sites)
        except CheckpointNotWrittenError as error:
            if self._policy.on_error == "stop":
                raise
            self._reporter.say(f"warning: {error}")
            return False
        self._kept = state.step
        if self._sites.is_leader:
            prune(self._run, self._policy.keep, state.best)
        return True

    def restore(self, path: Path) -> TrainerState:
        """Put an undamaged checkpoint into the engine; returns where it stands.

        Raises:
            UserError: the sites do not have all of it.
        """
        if self._sites.several:
            bring_together(path, self._sites)
        state = read_state(path)
        restore(self._engine, Parts(path).read, state.updates)
        self._kept = state.step
        return state

    def newest(self) -> Path:
        """The newest undamaged checkpoint.

        Raises:
            UserError: there is none yet.
        """
        found = newest(self._run, self._sites)
        if found.path is None:
            raise UserError(
                f"{self._run}: there is no checkpoint yet to go back to. Lower train.lr, or set"
                " checkpoint.every so that one is written sooner."
            )
        return found.path
