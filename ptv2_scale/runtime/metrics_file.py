"""`RUN/metrics.jsonl` read back: what a run has measured at its steps and evaluations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"
# What an evaluation's record holds beside the task's metrics.
_PLACE = frozenset({"event", "step", "epoch", "wall_seconds", "validation_loss"})


def read_events(run: Path) -> Iterator[dict[str, Any]]:
    """The records of a run in their order; a line that is no record, as one being written, is
    left out, and so is a file that cannot be read."""
    try:
        lines = (run / METRICS).read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and isinstance(found.get("step"), int):
            yield found


def by_step(records: Iterable[Mapping[str, Any]], event: str) -> dict[int, Mapping[str, Any]]:
    """The records of an event by step; of a step that was made again after a resume, the last."""
    found = {one["step"]: one for one in records if one.get("event") == event}
    return dict(sorted(found.items()))


def metrics_of(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """The task's metrics in the record of an evaluation, by name, the one that chooses first."""
    return {name: value for name, value in evaluation.items() if name not in _PLACE}


def recorded_seconds(run: Path) -> float:
    """Wall-clock time of a run until its last record; 0 where none says it."""
    return max((float(one.get("wall_seconds", 0.0)) for one in read_events(run)), default=0.0)
