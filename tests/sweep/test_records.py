"""Trials by cell, and which values of a cell are its best: by hand-made scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ptv2_scale.history.outcome import Outcome
from ptv2_scale.sweep.records import TrialRecord, best_params, by_cell


def record(cell: str, lr: float, seed: int, score: float | None, **changes: Any) -> TrialRecord:
    return TrialRecord(
        cell=cell,
        axes={"method": cell},
        number=0,
        params={"train.lr": lr},
        ranges={"train.lr": (1e-3, 1e-1)},
        seed=seed,
        state="failed" if score is None else "done",
        reason="",
        exit_code=0,
        run=Path("runs"),
        outcome=Outcome(metric="accuracy", score=score),
        **changes,
    )


def test_the_best_values_are_those_of_the_highest_mean_over_the_same_seeds() -> None:
    trials = [
        *(record("a", 0.1, 1, 0.9), record("a", 0.1, 2, 0.3)),
        *(record("a", 0.01, 1, 0.7), record("a", 0.01, 2, 0.6)),
        record("a", 0.001, 1, 0.99),  # its second seed has failed: not to be compared
        record("a", 0.001, 2, None),
    ]
    assert [(one.params["train.lr"], one.seed) for one in best_params(trials)] == [
        (0.01, 1),
        (0.01, 2),
    ]
    assert best_params([record("a", 0.1, 1, None)]) == []


def test_cells_keep_their_order() -> None:
    trials = [record(cell, 0.1, 1, 0.5) for cell in ("b", "a", "b")]
    assert {cell: len(found) for cell, found in by_cell(trials).items()} == {"b": 2, "a": 1}
    assert list(by_cell(trials)) == ["b", "a"]


@pytest.mark.parametrize(("lr", "shown"), [(1e-2, "0.01"), (2e-5, "2e-05")])
def test_a_trial_is_named_by_what_was_tried(lr: float, shown: str) -> None:
    assert record("a", lr, 11, 0.5).name == f"train.lr={shown} seed=11"
