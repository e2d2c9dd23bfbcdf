"""What is printed of a sweep, on trials made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ptv2_scale.demo import BACKBONE
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.sweep.api import Sweep
from ptv2_scale.sweep.cells import Cell
from ptv2_scale.sweep.overview import (
    cell_sizes,
    duration,
    plan_table,
    problems_of,
    progress_line,
    seconds_left,
    status_table,
)
from ptv2_scale.sweep.records import Outcome, TrialRecord


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
    assert [duration(one) for one in (45, 720, 12600)] == ["45 s", "12 min", "3.5 h"]


def test_why_trials_failed_is_said_without_what_a_terminal_obeys() -> None:
    assert problems_of(TRIALS)[0] == (
        "failed: prefix | train.lr=0.3 seed=2: ValueError: \\x1b[31mno"
    )
    many = [replace(trial("failed"), seed=number) for number in range(30)]
    assert len(problems_of(many)) == 21
    assert problems_of(many)[-1] == "... and 10 more"


def test_the_table_of_cells_says_what_is_not_known(small: Sweep) -> None:
    asked = []

    def sizes(cell: Cell) -> tuple[int, int]:
        asked.append(cell.label)
        if cell.label == "prefix":
            raise UserError("no such backbone.\nmore")
        return 25, 1000

    cells = [*small.cells, small.cells[0]]
    lines = plan_table(cells, sizes).splitlines()
    assert asked == ["head only", "prefix"]  # what is alike is asked once
    assert [line.split() for line in lines[1:]] == [
        ["head", "only", "2", "1,000", "25", "(2.50%)"],
        ["prefix", "2", "not", "known", "no", "such", "backbone."],
        ["head", "only", "2", "1,000", "25", "(2.50%)"],
    ]


def test_sizes_are_those_of_the_model(small: Sweep) -> None:
    (trained, every), (more, _) = map(cell_sizes, small.cells)
    shape = json.loads((BACKBONE / "config.json").read_text())
    layers = shape["num_layers"] + 2 * shape["num_decoder_layers"]
    # Keys and values of 4 tokens in every layer of the encoder, the decoder, and between them.
    assert more - trained == 4 * 2 * layers * shape["num_heads"] * shape["d_kv"]
    assert 0 < trained < more < every
