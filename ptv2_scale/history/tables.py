"""Runs as tables for people and as JSON for programs: a list of them, and what sets them apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ptv2_scale.config.dotted import dotted
from ptv2_scale.history.outcome import stored_outcome
from ptv2_scale.history.runs import Run
from ptv2_scale.runtime.errors import printable
from ptv2_scale.runtime.terminal import columns, duration

_COLUMNS = ("run", "state", "task", "method", "backbone", "score", "trivial", "steps", "time",
            "date")  # fmt: skip
# Where a run was made says nothing of what it was.
_PLACES = frozenset({"run"})
_MISSING = "-"


def run_table(runs: Sequence[Run]) -> str:
    """One line a run, and the reasons of those that failed or were stopped."""
    table = columns([_COLUMNS, *map(_row, runs)])
    reasons = [f"{run.state}: {run.path}: {printable(run.reason)}" for run in runs if run.reason]
    return "\n".join([table, *([""] if reasons else []), *reasons])


def _row(run: Run) -> list[str]:
    return [
        *map(printable, (str(run.path), run.state, run.task, run.method, run.backbone)),
        _score(run),
        _number(run.outcome.trivial),
        str(run.outcome.steps),
        _MISSING if run.seconds is None else duration(run.seconds),
        f"{run.changed:%Y-%m-%d %H:%M}",
    ]


def _score(run: Run) -> str:
    if run.score is None:
        return _MISSING
    return f"{run.outcome.metric} {run.score:.4f}"


def _number(value: float | None) -> str:
    return _MISSING if value is None else f"{value:.4f}"


def comparison_table(runs: Sequence[Run]) -> str:
    """What sets runs apart: scores, and every key of their recipes that is not alike in all.

    A line is a run where keys are few, else a key.
    """
    settings = differences(runs)
    rows = [
        ("run", *(printable(str(run.path)) for run in runs)),
        ("score", *map(_score, runs)),
        ("trivial", *(_number(run.outcome.trivial) for run in runs)),
        ("steps", *(str(run.outcome.steps) for run in runs)),
        *((key, *map(_shown, values)) for key, values in settings.items()),
    ]
    flipped = len(settings) <= len(runs)
    return columns(list(zip(*rows, strict=True)) if flipped else rows)


def differences(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Keys of the runs' recipes that differ, each with its value in every run.

    A key that a recipe does not have (another method's) is None there.
    """
    recipes = [dotted(run.recipe) for run in runs]
    keys = dict.fromkeys(key for recipe in recipes for key in recipe)
    found = {key: [recipe.get(key) for recipe in recipes] for key in keys if key not in _PLACES}
    return {key: values for key, values in found.items() if any(one != values[0] for one in values)}


def _shown(value: Any) -> str:
    if value is None:
        return _MISSING
    return f"{value:g}" if isinstance(value, float) else printable(str(value))


def run_json(run: Run) -> dict[str, Any]:
    """A run as JSON that every reader takes: numbers that are not finite are texts."""
    outcome = stored_outcome(run.outcome)
    return {
        "run": str(run.path),
        "state": run.state,
        "reason": run.reason,
        "date": run.changed.isoformat(timespec="seconds"),
        "task": run.task,
        "method": run.method,
        "backbone": run.backbone,
        "seconds": run.seconds,
        **{key: value for key, value in outcome.items() if key not in ("seconds", "score")},
        "score": outcome["score"] if run.outcome.score is not None else run.score,
        "recipe": dict(run.recipe),
    }
