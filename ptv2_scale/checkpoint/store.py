"""Checkpoints: safetensors and JSON, published whole or not at all.

A checkpoint is `RUN/checkpoints/step-00000500/`: a shard per rank with the fp32 master values and
AdamW's moments of what is trained, `trainer.json` with the position of the run, and
`manifest.json` with every file's size and sha256. A directory with a valid manifest is a
checkpoint; anything else is not. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ptv2_scale.checkpoint.file_systems import FileSystemGroups
from ptv2_scale.checkpoint.manifest import (
    TRAINER,
    Stamp,
    shard_name,
    write_manifest,
    write_synced,
)
from ptv2_scale.checkpoint.shards import LocalShard, ShardFile
from ptv2_scale.checkpoint.transaction import CheckpointTransaction, building_path
from ptv2_scale.distributed.ranks import gather
from ptv2_scale.runtime.atomic import sync
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.run_identity import RunIdentity

_SLACK = 1 << 20  # bytes of JSON, directories and a file system's own needs
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Best:
    """The best evaluation so far.

    Attributes:
        step: after which it was made.
        value: of the metric that chooses.
        metrics: all that are published for the task, by name; runs of earlier versions have none.
        loss: on the validation split; None: not known.
    """

    step: int
    value: float
    metrics: dict[str, float] = field(default_factory=dict)
    loss: float | None = None

    def is_beaten_by(self, value: float) -> bool:
        """Whether a later evaluation is better; one that is not a number never is."""
        return value > self.value or (math.isnan(self.value) and not math.isnan(value))


@dataclass(frozen=True)
class Work:
    """What a run's optimizer steps have learned from, and the time that they took.

    Attributes:
        examples: of all steps.
        tokens: of their texts, without padding.
        seconds: wall-clock time of the steps alone, on the first rank.
    """

    examples: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def plus(self, examples: int, tokens: int, seconds: float) -> Work:
        """The same after another step."""
        return Work(self.examples + examples, self.tokens + tokens, self.seconds + seconds)

    def a_second(self, count: int) -> float | None:
        """So many pieces of it in a second; None: there were no steps, or they are not known."""
        return round(count / self.seconds, 2) if self.seconds else None


@dataclass(frozen=True)
class TrainerState:
    """Where a run stands after a step.

    Attributes:
        step: optimizer steps done; the sample order and the schedule follow from it.
        evaluated: step of the last evaluation.
        best: best evaluation so far.
        without_gain: evaluations since then.
        skipped: steps (from 1) whose batch changed nothing, or is to be left out.
        recipe: the resolved recipe.
        fingerprint: of the backbone's weights.
        identity: of what else its numbers depend on; checkpoints of 0.1.0 have none.
        world: ranks that wrote it.
        hosts: name of each of these ranks' host; empty: not known.
        parameter_groups: lr and weight_decay of each group.
        versions: of the libraries whose arithmetic the bits depend on.
        seconds: wall-clock time until then of the process that wrote it and of those before it.
        peak_memory_bytes: the largest of any rank until then.
        work: of the steps done, but for those of earlier versions.
    """

    step: int = 0
    evaluated: int = 0
    best: Best | None = None
    without_gain: int = 0
    skipped: tuple[int, ...] = ()
    recipe: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    identity: RunIdentity = field(default_factory=RunIdentity)
    world: int = 1
    hosts: tuple[str, ...] = ()
    parameter_groups: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    work: Work = field(default_factory=Work)

    @property
    def updates(self) -> int:
        """Optimizer steps that changed the weights."""
        return self.step - sum(step <= self.step for step in self.skipped)


_STATE: TypeAdapter[TrainerState] = TypeAdapter(TrainerState)


def checkpoint_path(run: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return run / "checkpoints" / f"step-{step:08d}"


def save(
    run: Path, state: TrainerState, shards: Iterable[LocalShard], groups: FileSystemGroups
) -> Path:
    """Publish a checkpoint, in every group the shards of its ranks; every rank calls it.

    Args:
        run: the run directory.
        state: where the run stands.
        shards: this rank's shards of what is trained.
        groups: where this process stands.

    Raises:
        CheckpointNotWrittenError: on every rank, if one could not write; older checkpoints are
            untouched.
    """
    final = checkpoint_path(run, state.step)
    building, ranks = building_path(final), groups.ranks
    content, name = ShardFile(shards), shard_name(ranks.rank, ranks.world)
    sizes = zip(gather(content.nbytes, ranks), groups.leader_of, strict=True)
    needed = sum(size for size, leader in sizes if leader == groups.leader) + _SLACK
    transaction = CheckpointTransaction(final, needed, groups)
    transaction.on_leaders(lambda: _begin(building, needed))
    stamps = transaction.on_all(lambda: write_synced(building / name, content.pieces()))
    files = {shard_name(rank, ranks.world): stamp for rank, stamp in enumerate(stamps)}
    transaction.publish(
        lambda: _complete(building, state, files), lambda: _publish(building, final)
    )
    return final


def _begin(building: Path, needed: int) -> None:
    if not building.parent.is_dir():
        # Not made anew: behind a mount that has gone there may be quite another disk.
        raise OSError(f"the directory {building.parent} has disappeared")
    if building.exists():
        shutil.rmtree(building)
    if shutil.disk_usage(building.parent).free < needed:
        raise OSError("not enough free space")
    building.mkdir()


def _complete(building: Path, state: TrainerState, files: dict[str, Stamp]) -> None:
    text = json.dumps(asdict(state), indent=1)
    trainer = write_synced(building / TRAINER, [text.encode()])
    write_manifest(building, {**files, TRAINER: trainer})
    sync(building)


def _publish(building: Path, final: Path) -> None:
    if final.exists():
        # The same step saved again, after a resume from an earlier one.
        final.rename(free_name(final.with_name(f"{final.name}.replaced")))
    building.rename(final)
    sync(final.parent)


def free_name(path: Path) -> Path:
    """The path, or one with a number behind it, where nothing stands yet."""
    number, candidate = 1, path
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


@dataclass(frozen=True)
class Damaged:
    """A checkpoint that cannot be used, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def published(run: Path) -> list[Path]:
    """All that is named like a checkpoint, oldest first."""
    return sorted((run / "checkpoints").glob("step-????????"))


def set_aside(damaged: Damaged) -> Path:
    """Rename a damaged checkpoint, so that it is neither used nor counted nor deleted."""
    aside = free_name(damaged.path.with_name(f"{damaged.path.name}.damaged"))
    return damaged.path.rename(aside)


def read_state(folder: Path) -> TrainerState:
    """The trainer's state of an undamaged checkpoint.

    Raises:
        UserError: it is none.
    """
    path = folder / TRAINER
    try:
        return _STATE.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"{path}: not a trainer's state ({type(error).__name__}).") from None


def prune(run: Path, keep: int, best: Best | None) -> None:
    """Delete all but the newest `keep` checkpoints and the best; call it after a save."""
    protected = set() if best is None else {checkpoint_path(run, best.step)}
    for folder in published(run)[:-keep]:
        if folder not in protected and not folder.is_symlink():
            # Renamed first, so that a kill half-way leaves nothing that looks like a checkpoint.
            _remove(folder, folder.with_name(f".{folder.name}.deleting"))


def _remove(folder: Path, doomed: Path) -> None:
    try:
        shutil.rmtree(folder.rename(doomed))
    except OSError as error:
        _logger.warning("%s: could not be deleted (%s); it is left", folder, error.strerror)


def remove_unfinished(run: Path) -> None:
    """Delete what a process that was killed had begun to write or to delete."""
    for folder in _leftovers(run / "checkpoints"):
        shutil.rmtree(folder, ignore_errors=True)


def _leftovers(folder: Path) -> Iterator[Path]:
    for kind in ("building", "deleting"):
        yield from folder.glob(f".step-????????.{kind}")
