"""A run directory made by hand, read as an outcome, and stored as JSON that every reader takes."""

from __future__ import annotations

import json
import math
from pathlib import Path

from ptv2_scale.history.outcome import Outcome, outcome_of, read_outcome, stored_outcome


def write_run(run: Path, score: float) -> None:
    events = [
        *({"event": "step", "step": n, "loss": 1.0 - n / 40} for n in (1, 2)),
        # Killed after step 2, resumed from before it: the second time counts.
        *({"event": "step", "step": n, "loss": 0.9 - n / 40} for n in range(2, 21)),
        {"event": "evaluation", "step": 10, "accuracy": score, "f1": 0.25},
        {"event": "evaluation", "step": 20, "accuracy": 0.5, "f1": 0.75},
        {"event": "not_finite", "step": 21},
    ]
    result = {
        "task": "t", "split": "validation", "metric": "accuracy", "value": score, "trivial": 0.5,
        "trivial_answer": "yes", "best_step": 10, "steps": 20, "trained_parameters": 10,
        "backbone_parameters": 90, "seconds": 4.5, "peak_memory_bytes": 7, "ranks": 2,
    }  # fmt: skip
    (run / "checkpoints" / "step-00000010").mkdir(parents=True)
    (run / "checkpoints" / "step-00000020").mkdir()
    (run / "checkpoints" / ".step-00000030.building").mkdir()
    (run / "checkpoints" / "step-00000020" / "a").write_bytes(b"123")
    (run / "export").mkdir()
    (run / "export" / "b").write_bytes(b"12345")
    lines = [json.dumps(event) for event in events]
    (run / "metrics.jsonl").write_text("\n".join([*lines, '{"event": "st']))
    (run / "result.json").write_text(json.dumps(result))


def test_a_run_is_read(tmp_path: Path) -> None:
    write_run(tmp_path, 0.75)
    found = read_outcome(tmp_path)
    assert found == Outcome(
        metric="accuracy",
        score=0.75,
        trivial=0.5,
        trivial_answer="yes",
        metrics={"accuracy": 0.75, "f1": 0.25},
        curve=((10, 0.75), (20, 0.5)),
        losses=found.losses,
        not_finite=1,
        best_step=10,
        steps=20,
        seconds=4.5,
        peak_memory_bytes=7,
        trained_parameters=10,
        backbone_parameters=90,
        checkpoint_bytes=3,
        export_bytes=5,
    )
    assert found.all_parameters == 100
    # A tenth of 20 steps: the first two, and the last two.
    first, last = found.losses or (0.0, 0.0)
    assert (round(first, 6), round(last, 6)) == (0.9125, 0.4125)


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    assert read_outcome(tmp_path / "nowhere") == Outcome()


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    write_run(tmp_path, math.nan)
    found = read_outcome(tmp_path)
    text = json.dumps(stored_outcome(found), allow_nan=False)
    back = outcome_of({**json.loads(text), "of_a_later_version": 1})
    assert math.isnan(back.score or 0.0)
    assert math.isnan(back.metrics["accuracy"])
    assert math.isnan(back.curve[0][1])
    assert (back.losses, back.curve[1]) == (found.losses, (20, 0.5))
