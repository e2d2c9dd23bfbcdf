"""What is known of each trial of a sweep: the rows of every table, report and check."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ptv2_scale.history.outcome import Outcome

TrialState = Literal[
    "waiting", "running", "interrupted", "done", "failed", "pruned", "does not fit"
]


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
