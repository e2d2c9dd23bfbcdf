"""What is known of each trial of a sweep: the rows of every table, report and check."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

TrialState = Literal[
    "waiting", "running", "interrupted", "done", "failed", "pruned", "does not fit"
]


@dataclass(frozen=True)
class Outcome:
    """What a trial's run directory says; of a run that has failed, as far as it came.

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


@dataclass(frozen=True)
class TrialRecord:
    """One trial: what it was to be, and what has become of it.

    Attributes:
        cell: name of its cell: the labels of `axes`, in the order of the sweep file.
        axes: label on each axis of the sweep, by the axis's name.
        number: number of the trial in its cell, from 0 on.
        params: values of the keys that are tried inside a cell (a grid or a search), by key.
        ranges: lowest and highest value that the sweep allows for each number among `params`.
        seed: `train.seed` of the run.
        state: "waiting", "running", "interrupted" (to be resumed by the next sweep process),
            "done", "failed", "pruned" (stopped early for scoring less than others of its cell) or
            "does not fit" (never begun: it would need more memory than a GPU has).
        reason: why it failed or was stopped: the last line of the error; empty where it did not.
        exit_code: that its launch ended with; None: it has not ended.
        run: its run directory.
        outcome: what its run directory says.
    """

    cell: str
    axes: Mapping[str, str]
    number: int
    params: Mapping[str, Any]
    ranges: Mapping[str, tuple[float, float]]
    seed: int
    state: TrialState
    reason: str
    exit_code: int | None
    run: Path
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def score(self) -> float | None:
        """Score of a trial that is done; None: it is not."""
        return self.outcome.score if self.state == "done" else None

    @property
    def name(self) -> str:
        """Short name inside the cell: "train.lr=0.01 seed=11"."""
        return " ".join([*(f"{key}={show(value)}" for key, value in self.params.items()),
                         f"seed={self.seed}"])  # fmt: skip


def show(value: Any) -> str:
    """A value of a recipe as people write it: 0.01, prefix, [1, 2]."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def by_cell(records: Iterable[TrialRecord]) -> dict[str, list[TrialRecord]]:
    """The trials of each cell, cells in the order in which they come."""
    found: dict[str, list[TrialRecord]] = defaultdict(list)
    for record in records:
        found[record.cell].append(record)
    return dict(found)


def best_params(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The trials, one a seed, that are done and have the best mean score of their cell.

    Values of a grid or search are compared over the seeds that all have in common: those with the
    most finished seeds come first, then those with the higher mean. Empty: none is done.
    """
    groups: dict[str, list[TrialRecord]] = defaultdict(list)
    for record in records:
        if record.score is not None:
            groups[repr(sorted(record.params.items()))].append(record)
    if not groups:
        return []
    most = max(map(len, groups.values()))
    complete = [group for group in groups.values() if len(group) == most]
    return max(complete, key=lambda group: sum(one.score or 0.0 for one in group) / len(group))
