"""What a run's directory says of it, also of a run that has failed or still runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from pathlib import Path
from statistics import mean
from typing import Any

from ptv2_scale.runtime.files import folder_bytes
from ptv2_scale.runtime.metrics_file import by_step, metrics_of, read_events

_RESULT = ("trivial", "trivial_answer", "best_step", "steps", "seconds", "peak_memory_bytes",
           "trained_parameters", "backbone_parameters", "head_only")  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a run's directory says; of a run that has failed, as far as it came.

    Attributes:
        metric: name of the metric that chooses the best evaluation; higher is better.
        score: its value at the best evaluation; None: the run has reached no result.
        trivial: score of always giving the same answer.
        trivial_answer: that answer: "the most frequent class".
        metrics: all metrics of the best evaluation, by name.
        curve: score after each evaluation, as pairs of step and score.
        losses: mean training loss of the first and of the last tenth of the steps.
        not_finite: steps whose loss or gradient was not finite.
        best_step: step of the best evaluation.
        steps: optimizer steps made.
        seconds: wall-clock time of the run, start-up included; of a resumed run, of all parts.
        peak_memory_bytes: the largest of all ranks: GPU memory on a GPU, else resident memory.
        trained_parameters: number of trained parameters.
        backbone_parameters: number of frozen parameters.
        checkpoint_bytes: bytes of the newest checkpoint; None: there is none.
        export_bytes: bytes of the exported prefix and head, or of what else was trained.
        head_only: score of a head trained alone, where the recipe asks for it.
    """

    metric: str | None = None
    score: float | None = None
    trivial: float | None = None
    trivial_answer: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[tuple[int, float], ...] = ()
    losses: tuple[float, float] | None = None
    not_finite: int = 0
    best_step: int | None = None
    steps: int = 0
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    trained_parameters: int | None = None
    backbone_parameters: int | None = None
    checkpoint_bytes: int | None = None
    export_bytes: int | None = None
    head_only: float | None = None

    @property
    def all_parameters(self) -> int | None:
        """Number of trained and frozen parameters."""
        if self.trained_parameters is None or self.backbone_parameters is None:
            return None
        return self.trained_parameters + self.backbone_parameters


def read_outcome(run: Path) -> Outcome:
    """What a run has reached; what it has not, or what cannot be read, is left out.

    Args:
        run: the run directory; it need not be there.
    """
    result, events = _result(run), list(read_events(run))
    steps, evaluations = by_step(events, "step"), by_step(events, "evaluation")
    made = next((metrics_of(one) for one in evaluations.values()), {})
    metric = result.get("metric") or next(iter(made), None)
    known = {key: result[key] for key in _RESULT if key in result}
    best = evaluations.get(result.get("best_step", -1), {})
    return Outcome(
        **{"steps": max(steps, default=0), **known},
        metric=metric,
        score=result.get("value"),
        metrics=metrics_of(best),
        curve=tuple(
            (step, one[metric]) for step, one in evaluations.items() if metric and metric in one
        ),
        losses=_losses([one["loss"] for one in steps.values() if "loss" in one]),
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
    return folder_bytes(folder) if folder is not None and folder.is_dir() else None
