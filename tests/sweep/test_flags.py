"""Each warning on trials made by hand that deserve it, and on none that do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ptv2_scale.history.outcome import Outcome
from ptv2_scale.sweep.flags import flags_of
from ptv2_scale.sweep.records import TrialRecord

GOOD = Outcome(
    metric="accuracy",
    score=0.8,
    trivial=0.5,
    trivial_answer="the most frequent class",
    metrics={"accuracy": 0.8},
    curve=((5, 0.7), (10, 0.8), (15, 0.75)),
    losses=(0.7, 0.3),
    best_step=10,
    steps=15,
)


def trial(lr: float = 0.01, seed: int = 1, state: Any = "done", **outcome: Any) -> TrialRecord:
    return TrialRecord(
        cell="prefix",
        axes={"method": "prefix"},
        number=0,
        params={"train.lr": lr},
        ranges={"train.lr": (0.001, 0.1)},
        seed=seed,
        state=state,
        reason="",
        exit_code=0,
        run=Path("runs"),
        outcome=replace(GOOD, **outcome),
    )


def kinds(*trials: TrialRecord) -> list[str]:
    return [flag.kind for flag in flags_of(trials)]


def test_a_good_sweep_has_none() -> None:
    assert kinds(trial(), trial(seed=2, score=0.81), trial(lr=0.1, score=0.7)) == []


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"score": 0.5}, "trivial"),
        ({"score": 0.4}, "trivial"),
        ({"not_finite": 2, "state": "failed"}, "diverged"),
        ({"score": float("nan"), "state": "failed"}, "diverged"),
        ({"losses": (0.7, float("inf"))}, "diverged"),
        ({"losses": (0.7, 2.1)}, "diverged"),
        ({"best_step": 15}, "unfinished"),
        ({"state": "failed", "steps": 4}, "unfinished"),
    ],
    ids=str,
)
def test_a_trial_that_deserves_it(changes: dict[str, Any], kind: str) -> None:
    assert kind in kinds(trial(**changes), trial(seed=2), trial(seed=3))


@pytest.mark.parametrize(
    ("best", "found"), [(0.001, "is the lowest"), (0.1, "is the highest"), (0.01, "")]
)
def test_the_best_value_at_the_edge(best: float, found: str) -> None:
    trials = [trial(lr, score=0.9 if lr == best else 0.7) for lr in (0.001, 0.01, 0.1)]
    texts = [flag.text for flag in flags_of(trials)]
    assert len(texts) == (1 if found else 0)
    assert not found or f"the best train.lr, {best:g}, {found} that was tried" in texts[0]


def test_seeds_that_disagree() -> None:
    assert kinds(trial(score=0.9), trial(seed=2, score=0.7)) == ["seeds"]
    assert kinds(trial(score=0.82), trial(seed=2, score=0.78)) == []
