"""What a trial's run directory says of it, also of a run that has failed or still runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from math import isfinite
from pathlib import Path
from statistics import mean
from typing import Any

from ptv2_scale.runtime.metrics_file import metrics_of, read_events
from ptv2_scale.sweep.records import Outcome

_RESULT = ("trivial", "trivial_answer", "best_step", "steps", "seconds", "peak_memory_bytes",
           "trained_parameters", "backbone_parameters", "head_only")  # fmt: skip


def read_outcome(run: Path) -> Outcome:
    """What a run has reached; what it has not, or what cannot be read, is left out.

    Args:
        run: the run directory; it need not be there.
    """
    result, events = _result(run), list(read_events(run))
    # A step that was made again after a resume stands twice: the last counts.
    steps = {one["step"]: one for one in events if one.get("event") == "step"}
    evaluations = {one["step"]: one for one in events if one.get("event") == "evaluation"}
    made = next((metrics_of(one) for one in evaluations.values()), {})
    metric = result.get("metric") or next(iter(made), None)
    known = {key: result[key] for key in _RESULT if key in result}
    best = evaluations.get(result.get("best_step", -1), {})
    return Outcome(
        **{"steps": max(steps, default=0), **known},
        metric=metric,
        score=result.get("value"),
        metrics=metrics_of(best),
        curve=tuple((step, one[metric]) for step, one in evaluations.items() if metric in one),
        losses=_losses([one["loss"] for _, one in sorted(steps.items()) if "loss" in one]),
        not_finite=sum(one.get("event") == "not_finite" for one in events),
        checkpoint_bytes=_bytes(max((run / "checkpoints").glob("step-*[0-9]"), default=None)),
        export_bytes=_bytes(run / "export"),
    )


def stored_outcome(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON that every reader takes: numbers that are not finite are texts."""
    found = _plain(asdict(outcome))
    assert isinstance(found, dict)
    return found


def outcome_of(stored: Mapping[str, Any]) -> Outcome:
    """An outcome that was stored as JSON; keys that are not known here are left out."""
    known = {one.name for one in fields(Outcome)}
    found = {key: value for key, value in stored.items() if key in known}
    if found.get("score") is not None:
        found["score"] = float(found["score"])
    found["metrics"] = {key: float(value) for key, value in found.get("metrics", {}).items()}
    found["curve"] = tuple((step, float(value)) for step, value in found.get("curve", ()))
    if found.get("losses") is not None:
        first, last = found["losses"]
        found["losses"] = (float(first), float(last))
    return Outcome(**found)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _result(run: Path) -> dict[str, Any]:
    try:
        found = json.loads((run / "result.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _losses(losses: list[float]) -> tuple[float, float] | None:
    if not losses:
        return None
    tenth = max(1, len(losses) // 10)
    return mean(losses[:tenth]), mean(losses[-tenth:])


def _bytes(folder: Path | None) -> int | None:
    if folder is None or not folder.is_dir():
        return None
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
