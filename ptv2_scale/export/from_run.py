"""An export from a run's directory, finished or not, without starting an engine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ptv2_scale.checkpoint.compatibility import RunContent, check_resumable
from ptv2_scale.checkpoint.file_systems import alone
from ptv2_scale.checkpoint.manifest import damage
from ptv2_scale.checkpoint.recovery import newest
from ptv2_scale.checkpoint.shards import CheckpointShards, StoredValues
from ptv2_scale.checkpoint.store import Best, checkpoint_path, read_state
from ptv2_scale.config import backbone_override, load_recipe
from ptv2_scale.export.card import CARD_FILE, Card, read_card
from ptv2_scale.export.native import trained_tensors, write_export
from ptv2_scale.export.older import result_of
from ptv2_scale.export.parts import card_of_part, tensors_of_part
from ptv2_scale.model.setup import open_setup
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import read_json

_logger = logging.getLogger(__name__)


def export_run(
    source: Path,
    target: Path,
    backbone: str | None = None,
    overrides: Sequence[str] = (),
    task: str | None = None,
) -> None:
    """Export the best checkpoint of a run, or copy an export.

    Args:
        source: a run directory, or an export.
        target: folder to be made.
        backbone: name or folder of the run's backbone, where it has moved.
        overrides: of the run's recipe, for what else has moved: `task.path=FOLDER` and the like.
        task: which of several tasks, with the head of that one alone; None: all.

    Raises:
        UserError: there is no valid checkpoint, or the backbone or the recipe has changed.
    """
    changes = [*overrides, *backbone_override(backbone)]
    if (source / CARD_FILE).is_file():
        if changes:
            raise UserError(f"{source}: is an export, and a copy of it takes no {changes[0]}.")
        card = card_of_part(read_card(source), task)
        write_export(target, card, tensors_of_part(trained_tensors(source), task))
        return
    last = _newest(source)
    state = read_state(last)
    setup = open_setup(load_recipe(source / "recipe.yaml", changes))
    now = RunContent(setup.config, setup.fingerprint, setup.identity)
    check_resumable(state, now, last)
    trained = StoredValues(CheckpointShards(_best(source, state.best, last)))
    card = card_of_part(Card.of(setup, _result(source / "result.json")), task)
    write_export(target, card, tensors_of_part(trained, task))


def _newest(run: Path) -> Path:
    found = newest(run, alone())
    if found.path is None:
        why = "; ".join(map(str, found.skipped)) or f"no checkpoint in {run / 'checkpoints'}"
        raise UserError(f"{run}: nothing to export: {why}.")
    return found.path


def _best(run: Path, best: Best | None, last: Path) -> Path:
    if best is None:
        return last
    path = checkpoint_path(run, best.step)
    wrong = damage(path)
    if wrong is None:
        return path
    _logger.warning(f"{path}, the best checkpoint: {wrong}; the newest is exported, {last}")
    return last


def _result(path: Path) -> dict[str, object]:
    found = read_json(path) if path.is_file() else {}
    if not isinstance(found, dict):
        raise UserError(f"{path}: not a result; delete it to export without one.")
    return result_of(found)
