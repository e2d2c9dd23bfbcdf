"""All trials of a sweep as rows: everything that is known of each, unrounded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ptv2_scale.history.outcome import Outcome
from ptv2_scale.sweep.records import TrialRecord, show
from ptv2_scale.sweep.report.roles import axis_names

_OUTCOME = ("metric", "score", "trivial", "trivial_answer", "head_only", "best_step", "steps",
            "not_finite", "seconds", "peak_memory_bytes", "trained_parameters",
            "backbone_parameters", "checkpoint_bytes", "export_bytes")  # fmt: skip


def trial_rows(records: Sequence[TrialRecord]) -> list[list[object]]:
    """The names of the columns, and a row for each trial.

    Columns of axes, hyper-parameters and metrics are called `axes.NAME`, `params.KEY` and
    `metrics.NAME`, and are empty where a trial has none.
    """
    axes = axis_names(records)
    params = _keys(one.params for one in records)
    metrics = _keys(one.outcome.metrics for one in records)
    header = ["cell", *(f"axes.{name}" for name in axes), "number"]
    header += [*(f"params.{key}" for key in params), "seed", "state", "reason", "exit_code"]
    header += [*_OUTCOME, *(f"metrics.{name}" for name in metrics), "run"]
    return [[*header], *(_row(one, axes, params, metrics) for one in records)]


def _row(
    one: TrialRecord, axes: Sequence[str], params: Sequence[str], metrics: Sequence[str]
) -> list[object]:
    return [
        *(one.cell, *(one.axes.get(name) for name in axes), one.number),
        *(_value(one.params.get(key)) for key in params),
        *(one.seed, one.state, one.reason, one.exit_code),
        *_outcome(one.outcome),
        *(one.outcome.metrics.get(name) for name in metrics),
        str(one.run),
    ]


def _outcome(outcome: Outcome) -> list[object]:
    return [getattr(outcome, name) for name in _OUTCOME]


def _value(value: Any) -> object:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if value is None or number else show(value)


def _keys(mappings: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))
