"""Acting on some ranks for all: every rank gets the result, or raises the same error."""

from __future__ import annotations

import json
from pathlib import Path

import ranks

WORKER = Path(__file__).with_name("leaders_worker.py")


def test_all_ranks_learn_of_results_and_problems() -> None:
    for output in ranks.run(3, *ranks.worker(WORKER)).must_succeed().outputs:
        line = next(line for line in output.splitlines() if line.startswith("FOUND"))
        assert json.loads(line.removeprefix("FOUND")) == {
            "first": 7,
            "first refuses": "no seven",
            "first two": [0, 1, None],
            "second refuses": "rank 1: of 2",
            "disk": [None, "full on 1", None],
        }
