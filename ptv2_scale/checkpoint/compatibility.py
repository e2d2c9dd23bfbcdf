"""Whether a run that goes on is the one that was begun: recipe, backbone, tokenizer and rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ptv2_scale.config import RunConfig
from ptv2_scale.config.dotted import dotted
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.run_identity import TOKENIZER, RowsDigest, RunIdentity

if TYPE_CHECKING:
    from ptv2_scale.checkpoint.store import TrainerState

# What a resumed run may change. Everything else would make it another run.
MAY_DIFFER = frozenset(
    {
        "run",
        "trackers",
        "deepspeed",
        "backbone.name",  # the fingerprint says whether it is the same backbone
        "backbone.tokenizer",
        "backbone.weights",
        "backbone.attention",
        "train.micro_batch",
        "train.micro_batch_by",
        "train.check_memory",
        "train.cpu_threads",
        "train.prometheus",
        "train.gradient_checkpointing",
        "train.head_only_baseline",
        "task.path",
        "evaluate.micro_batch",
        "checkpoint.every",
        "checkpoint.keep",
        "checkpoint.on_error",
        "checkpoint.accept",
        "train.not_finite",
        "train.spike",
        "train.time_limit",
        "slurm",  # the whole section
        "watchdog.silence",
        "watchdog.stall",
    }
)


@dataclass(frozen=True)
class RunContent:
    """What a run reads now, to be compared with what it read before.

    Attributes:
        config: the recipe, with what was found in the data written out.
        fingerprint: of the backbone's weights.
        identity: of what else it depends on.
        examples: a digest of each example, by split; none: rows are not compared.
    """

    config: RunConfig
    fingerprint: str
    identity: RunIdentity
    examples: Mapping[str, Sequence[bytes]] = field(default_factory=dict)


def _completed(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe with the defaults of keys that are newer than it."""
    try:
        return RunConfig.model_validate(recipe).model_dump(mode="json")
    except ValidationError:
        return recipe


def _may_differ(key: str, config: RunConfig) -> bool:
    paths = {f"{section}.path" for section in config.task.single}  # where rows are; several tasks'
    return key in MAY_DIFFER or key.partition(".")[0] in MAY_DIFFER or key in paths


def changes(recipe: dict[str, Any], config: RunConfig) -> list[str]:
    """What has changed since a run's recipe was stored, of what must not; none without a recipe."""
    before, now = dotted(_completed(recipe)), dotted(config.model_dump(mode="json"))
    tasks = config.task.single.items()
    found = {f"{section}.{key}" for section, task in tasks for key in task.FOUND}
    return [
        f"{key} was {before.get(key)!r} and is {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if recipe
        and before.get(key) != now.get(key)
        and not _may_differ(key, config)
        # Runs of 0.1.0 have not stored what was found in the data.
        and not (before.get(key) is None and key in found)
    ]


def check_resumable(state: TrainerState, now: RunContent, path: Path) -> None:
    """Refuse to continue with anything else than what the run was about.

    Raises:
        UserError: names every key that differs and must not, or what else has changed.
    """
    name = now.config.backbone.name
    if state.fingerprint != now.fingerprint:
        raise UserError(
            f"{path}: was trained on another backbone (fingerprint {state.fingerprint[:12]};"
            f" '{name}' has {now.fingerprint[:12]})."
        )
    changed = changes(state.recipe, now.config)
    if changed:
        raise UserError(
            f"{path}: the recipe has changed: {'; '.join(changed)}. A resumed run may change only"
            f" {', '.join(sorted(MAY_DIFFER))}."
        )
    _check_order(state.recipe, now.config, path)
    for what in state.identity.differences(now.identity):
        where = now.config.backbone.tokenizer if what == TOKENIZER else None
        raise UserError(
            f"{path}: {what} has changed since: what is in {where or name} is not what the run was"
            " trained with. Restore it, or begin another run with run=PATH."
        )
    for split, before in state.identity.rows.items():
        if split in now.examples:
            _check_rows(split, before, now, path)


def _check_order(recipe: dict[str, Any], config: RunConfig, path: Path) -> None:
    """Refuse classes in another order than 0.1.0 gave them, which it has not stored."""
    labels = getattr(config.task, "labels", None)
    stored = recipe.get("task", {}).get("labels")
    if recipe and stored is None and labels is not None and labels != sorted(labels):
        raise UserError(
            f"{path}: is of version 0.1.0, whose classes were in the order of the alphabet, and the"
            f" recipe's are in another. Go on with task.labels={json.dumps(sorted(labels))}, given"
            " in quotes."
        )


def _check_rows(split: str, before: RowsDigest, now: RunContent, path: Path) -> None:
    digests = now.examples[split]
    found = RowsDigest.of(digests)
    if found == before:
        return
    added = RowsDigest.of(digests[: before.examples]) == before
    if added and "added_rows" in now.config.checkpoint.accept:
        return
    advice = "Restore them, or begin another run with run=PATH."
    if added:
        advice = f"checkpoint.accept=[added_rows] goes on with them; else: {advice}"
    raise UserError(
        f"{path}: the rows of task.{split} have changed since:"
        f" {'some were added behind' if added else 'they are not'} the {before.examples} of"
        f" before; there are {found.examples} now. {advice}"
    )
