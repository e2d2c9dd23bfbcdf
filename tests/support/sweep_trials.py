"""Trials of a sweep that never ran."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptv2_scale.history.outcome import Outcome
from ptv2_scale.sweep.records import TrialRecord

HOSTILE = (
    "<script>document.title = 'taken'</script>",
    "=cmd()",
    "\"'`|$\\frac$",
    "_" + "x" * 300,
    "größe\x1b[1m",
)
SIZES = {"small": 10**6, "base": 10**7, "large": 10**8}


def trial(
    axes: Mapping[str, str],
    score: float | None,
    *,
    seed: int = 1,
    params: Mapping[str, Any] | None = None,
    run: Path = Path("runs"),
    **outcome: Any,
) -> TrialRecord:
    """A trial that is done, or without a score, one that has failed."""
    known: dict[str, Any] = {
        "metric": "accuracy",
        "trivial": 0.5,
        "trained_parameters": 1000,
        "backbone_parameters": SIZES.get(axes.get("backbone", ""), 10**6),
        "seconds": 10.0,
    }
    return TrialRecord(
        cell=", ".join(axes.values()) or "all",
        axes=dict(axes),
        number=0,
        params=dict(params or {"train.lr": 0.01}),
        ranges={},
        seed=seed,
        state="failed" if score is None else "done",
        reason="out of memory" if score is None else "",
        exit_code=3 if score is None else 0,
        run=run,
        outcome=Outcome(**{**known, "score": score, **outcome}),
    )


def ladder(run: Path = Path("runs")) -> list[TrialRecord]:
    """Three sizes x two methods x two seeds; scores rise with size, by 0.1 for each."""
    found = []
    for number, backbone in enumerate(SIZES):
        for method, first in (("full", 0.6), ("prompt", 0.55)):
            axes = {"task": "rte", "backbone": backbone, "method": method}
            for seed, more in ((1, 0.0), (2, 0.02)):
                score = round(first + 0.1 * number + more, 3)
                seconds = 10.0 * (number + 1) * (3 if method == "full" else 1)
                found.append(trial(axes, score, seed=seed, run=run, seconds=seconds))
    return found
