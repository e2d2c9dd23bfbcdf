"""Checkpoints: safetensors and JSON, published whole or not at all.

A checkpoint is `RUN/checkpoints/step-00000500/`: a part per rank with the fp32 master values and
AdamW's moments of what is trained, `trainer.json` with the position of the run, and
`manifest.json` with every file's size and sha256. A directory with a valid manifest is a
checkpoint; anything else is not. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ptv2_scale.engine.manifest import (
    TRAINER,
    Stamp,
    damage,
    part_name,
    write_manifest,
    write_synced,
)
from ptv2_scale.engine.parts import part_bytes
from ptv2_scale.engine.ranks import Ranks, gather
from ptv2_scale.engine.state import LocalPart
from ptv2_scale.errors import UserError
from ptv2_scale.files import sync

T = TypeVar("T")

_SLACK = 1 << 20  # bytes of JSON, directories and a file system's own needs
_logger = logging.getLogger(__name__)


class CheckpointNotWrittenError(UserError):
    """A checkpoint could not be written; older ones are untouched."""


@dataclass(frozen=True)
class Best:
    """The best evaluation so far."""

    step: int
    value: float


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
        fingerprint: of the backbone.
        world: ranks that wrote it.
        parameter_groups: lr and weight_decay of each group.
        versions: of the libraries whose arithmetic the bits depend on.
    """

    step: int = 0
    evaluated: int = 0
    best: Best | None = None
    without_gain: int = 0
    skipped: tuple[int, ...] = ()
    recipe: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    world: int = 1
    parameter_groups: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def updates(self) -> int:
        """Optimizer steps that changed the weights."""
        return self.step - sum(step <= self.step for step in self.skipped)


_STATE: TypeAdapter[TrainerState] = TypeAdapter(TrainerState)


def checkpoint_path(run: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return run / "checkpoints" / f"step-{step:08d}"


def save(run: Path, state: TrainerState, parts: list[LocalPart], ranks: Ranks) -> Path:
    """Publish a checkpoint; every rank calls it.

    Args:
        run: the run directory, on a file system that all ranks share.
        state: where the run stands.
        parts: this rank's parts of what is trained.
        ranks: where this process stands.

    Raises:
        CheckpointNotWrittenError: on every rank, if one could not write; older checkpoints are
            untouched.
    """
    final = checkpoint_path(run, state.step)
    building = final.with_name(f".{final.name}.building")
    content, name = part_bytes(parts), part_name(ranks.rank, ranks.world)
    needed = sum(gather(len(content), ranks)) + _SLACK
    attempt = _Attempt(final, needed, ranks)
    attempt.on_first(lambda: _begin(building, needed))
    stamps = attempt.on_all(lambda: write_synced(building / name, content))
    files = {part_name(rank, ranks.world): stamp for rank, stamp in enumerate(stamps)}
    attempt.on_first(lambda: _publish(building, final, state, files))
    return final


@dataclass(frozen=True)
class _Attempt:
    """Writing one checkpoint: whatever rank it fails on, all ranks raise the same."""

    final: Path
    needed: int
    ranks: Ranks

    def on_first(self, action: Callable[[], None]) -> None:
        self._raise_any(self._problems(action if self.ranks.first else _nothing)[1])

    def on_all(self, action: Callable[[], T]) -> list[T]:
        results, problems = self._problems(action)
        self._raise_any(problems)
        return results

    def _problems(self, action: Callable[[], T]) -> tuple[list[T], list[str | None]]:
        outcome: tuple[T | None, str | None]
        try:
            outcome = action(), None
        except OSError as error:
            outcome = None, f"{error.strerror or error}"
        outcomes = gather(outcome, self.ranks)
        return [result for result, _ in outcomes], [text for _, text in outcomes]  # type: ignore[misc]

    def _raise_any(self, problems: list[str | None]) -> None:
        found = [f"{text} (rank {rank})" for rank, text in enumerate(problems) if text]
        if not found:
            return
        free = ""
        if self.ranks.first:
            free = _free_text(self.final.parent)
            shutil.rmtree(self.final.with_name(f".{self.final.name}.building"), ignore_errors=True)
        raise CheckpointNotWrittenError(
            f"{self.final}: the checkpoint could not be written: {found[0]}. It needs"
            f" {_size(self.needed)}{free}. Older checkpoints are untouched. Make room or mend the"
            " file system and go on with --resume auto; with checkpoint.on_error: go_on a run"
            " goes on without this checkpoint."
        )


def _nothing() -> None:
    """What the other ranks do meanwhile."""


def _free_text(folder: Path) -> str:
    try:
        return f", and {_size(shutil.disk_usage(folder).free)} are free"
    except OSError:
        return ""


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB ({count} bytes)"


def _begin(building: Path, needed: int) -> None:
    if not building.parent.is_dir():
        # Not made anew: behind a mount that has gone there may be quite another disk.
        raise OSError(f"the directory {building.parent} has disappeared")
    if building.exists():
        shutil.rmtree(building)
    if shutil.disk_usage(building.parent).free < needed:
        raise OSError("not enough free space")
    building.mkdir()


def _publish(building: Path, final: Path, state: TrainerState, files: dict[str, Stamp]) -> None:
    text = json.dumps(asdict(state), indent=1)
    trainer = write_synced(building / TRAINER, text.encode())
    write_manifest(building, {**files, TRAINER: trainer})
    sync(building)
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


@dataclass(frozen=True)
class Found:
    """A checkpoint to resume from, and what was passed over on the way to it."""

    path: Path | None
    skipped: list[Damaged]


def newest_valid(run: Path) -> Found:
    """The newest undamaged checkpoint of a run."""
    skipped: list[Damaged] = []
    for folder in reversed(_published(run)):
        wrong = damage(folder)
        if wrong is None:
            return Found(folder, skipped)
        skipped.append(Damaged(folder, wrong))
    return Found(None, skipped)


def _published(run: Path) -> list[Path]:
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
    for folder in _published(run)[:-keep]:
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
    for folder in _unfinished(run / "checkpoints"):
        shutil.rmtree(folder, ignore_errors=True)


def _unfinished(folder: Path) -> Iterator[Path]:
    for kind in ("building", "deleting"):
        yield from folder.glob(f".step-????????.{kind}")
