"""An export from a run's directory, finished or not, without starting an engine."""

from __future__ import annotations

import json
from pathlib import Path

from ptv2_scale.config import load_recipe
from ptv2_scale.engine.build import open_setup
from ptv2_scale.engine.checkpoint import Parts, checkpoint_path, newest_valid, read_state
from ptv2_scale.engine.resume import check_resumable
from ptv2_scale.errors import UserError
from ptv2_scale.export import Card, write_export


def export_run(run: Path, target: Path) -> None:
    """Export the best checkpoint of a run.

    Args:
        run: a run directory.
        target: folder to be made.

    Raises:
        UserError: there is no valid checkpoint, or the backbone has changed.
    """
    found = newest_valid(run)
    if found.path is None:
        why = "; ".join(found.skipped) or f"no checkpoint in {run / 'checkpoints'}"
        raise UserError(f"{run}: nothing to export: {why}.")
    state = read_state(found.path)
    best = found.path if state.best is None else checkpoint_path(run, state.best.step)
    setup = open_setup(load_recipe(run / "recipe.yaml", []))
    check_resumable(state, setup.config, setup.fingerprint, found.path)
    parts = Parts(best)
    values = {name: parts.whole(name) for name in parts.shapes()}
    result = run / "result.json"
    write_export(target, Card.of(setup, _result(result)), values)


def _result(path: Path) -> dict[str, object]:
    return dict(json.loads(path.read_text())) if path.is_file() else {}
