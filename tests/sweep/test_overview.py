"""What is printed of a sweep, on trials made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ptv2_scale.history.outcome import Outcome
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.sweep.api import Sweep
from ptv2_scale.sweep.overview import (
    plan_table,
    problems_of,
    progress_line,
    seconds_left,
    status_table,
)
from ptv2_scale.sweep.planning import CellPlan
from ptv2_scale.sweep.records import TrialRecord


def trial(state: Any, lr: float = 0.1, seed: int = 1, score: float | None = None) -> TrialRecord:
    outcome = Outcome(metric="f1", score=score, seconds=None if score is None else 100 * score)
    return TrialRecord(
        cell="prefix",
        axes={"method": "prefix"},
        number=0,
        params={"train.lr": lr},
        ranges={},
        seed=seed,
        state=state,
        reason="ValueError: \x1b[31mno" if state == "failed" else "",
        exit_code=None,
        run=Path("runs"),
        outcome=outcome,
    )


TRIALS = [
    *(trial("done", score=0.5), trial("done", seed=2, score=0.7)),
    *(trial("running", 0.2), trial("interrupted", 0.2, 2), trial("waiting", 0.3)),
    trial("failed", 0.3, 2),
]


def test_how_far_each_cell_is() -> None:
    assert [line.split() for line in status_table(TRIALS).splitlines()] == [
        ["cell", "done", "running", "waiting", "failed", "best", "with"],
        ["prefix", "2", "1", "2", "1", "0.6000", "train.lr=0.1", "(mean", "of", "2", "seeds)"],
    ]


def test_how_far_the_sweep_is_and_how_long_it_takes() -> None:
    # Runs take 50 s and 70 s: three are left, two at a time.
    assert seconds_left(TRIALS, 2) == 3 * 60 / 2
    assert progress_line(TRIALS, 2) == (
        "2 of 6 done, 1 running, 1 failed, best f1 0.7000 (prefix), about 2 min left"
    )
    assert seconds_left([trial("waiting")], 1) is None
    other = replace(trial("waiting"), cell="of another time")
    assert seconds_left([*TRIALS[:2], other], 1) == 60


def test_why_trials_failed_is_said_without_what_a_terminal_obeys() -> None:
    assert problems_of(TRIALS)[0] == (
        "failed: prefix | train.lr=0.3 seed=2: ValueError: \\x1b[31mno"
    )
    many = [replace(trial("failed"), seed=number) for number in range(30)]
    assert len(problems_of(many)) == 21
    assert problems_of(many)[-1] == "... and 10 more"


def test_the_table_of_cells_says_what_is_not_known_and_what_does_not_fit(small: Sweep) -> None:
    plans = {
        "head only": UserError("no such backbone.\nmore"),
        "prefix": CellPlan(25, 1000, 12_345_678_901),
    }
    lines = plan_table(small.cells, plans, {"prefix": "needs a lot"}).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["head", "only", "2", "not", "known", "no", "such", "backbone."],
        [
            "prefix",
            "2",
            "1,000",
            "25",
            "(2.50%)",
            "12.346",
            *["does", "not", "fit:", "needs", "a", "lot"],
        ],
    ]


def test_cells_that_do_not_fit_are_told_and_counted_by_themselves() -> None:
    large = [replace(trial("does not fit", seed=seed), cell="large") for seed in (1, 2)]
    large = [replace(one, reason="needs 30 GB") for one in large]
    records = [trial("done", score=0.5), *large]
    header, _, row = (line.split() for line in status_table(records).splitlines())
    assert header[5:8] == ["does", "not", "fit"]
    assert row[:6] == ["large", "0", "0", "0", "0", "2"]
    assert "does not fit: large: needs 30 GB" in problems_of(records)
    assert progress_line(records, 1).startswith("1 of 1 done, 0 running, 2 do not fit")
