"""What a run has measured by step: loss, metrics and learning rate, as `metrics.jsonl` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ptv2_scale.history.runs import Run
from ptv2_scale.runtime.metrics_file import by_step, metrics_of, read_events

Points = tuple[tuple[int, float], ...]  # pairs of step and value


@dataclass(frozen=True)
class Curves:
    """The curves of a run.

    Attributes:
        label: that sets the run apart from others in the picture.
        loss: mean training loss of each step.
        validation_loss: after each evaluation; empty: earlier versions did not write it.
        learning_rate: of each step.
        metrics: the task's metrics after each evaluation, by name.
        trivial: score of always giving the same answer, of the metric that chooses.
    """

    label: str
    loss: Points
    validation_loss: Points
    learning_rate: Points
    metrics: Mapping[str, Points] = field(default_factory=dict)
    trivial: tuple[str, float] | None = None


def curves_of(runs: Sequence[Run]) -> list[Curves]:
    """The curves of runs, each with a label of its own."""
    return [_curves(run, label) for run, label in zip(runs, _labels(runs), strict=True)]


def _curves(run: Run, label: str) -> Curves:
    events = list(read_events(run.path))
    steps = by_step(events, "step")
    evaluations = by_step(events, "evaluation")
    names = dict.fromkeys(name for one in evaluations.values() for name in metrics_of(one))
    metric, trivial = run.outcome.metric, run.outcome.trivial
    return Curves(
        label,
        _points(steps, "loss"),
        _points(evaluations, "validation_loss"),
        _points(steps, "learning_rate"),
        {name: _points(evaluations, name) for name in names},
        None if metric is None or trivial is None else (metric, trivial),
    )


def _points(records: Mapping[int, Mapping[str, Any]], name: str) -> Points:
    return tuple(
        (step, float(one[name]))
        for step, one in records.items()
        if isinstance(one.get(name), int | float)
    )


def _labels(runs: Sequence[Run]) -> list[str]:
    """Names of the runs' folders; where two are alike, whole paths."""
    names = [run.path.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.path) for run in runs]
