"""Early stopping, trackers, and what a run that goes wrong says."""

from __future__ import annotations

import json
from pathlib import Path

import ranks
from tiny import write_recipe


def test_patience_ends_a_run_and_tensorboard_gets_its_numbers(tmp_path: Path) -> None:
    recipe = write_recipe(
        tmp_path,
        train={"steps": 40, "lr": 1e-9, "micro_batch": 6},  # nothing is learned
        evaluate={"every": 2, "patience": 3},
        trackers=["tensorboard"],
    )
    ended = ranks.cli(1, "train", str(recipe)).must_succeed()
    run = tmp_path / "run"
    assert "stopped early: no gain in 3 evaluations" in ended.outputs[0]
    result = json.loads((run / "result.json").read_text())
    assert (result["steps"], result["best_step"]) == (8, 2)
    kept = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert kept == ["step-00000002", "step-00000006", "step-00000008"]
    assert logged_steps(run) == list(range(1, 9))
    # As after a kill between the last evaluation and the export: nothing is trained on.
    (run / "result.json").unlink()
    exported = (run / "export" / "prompt.safetensors").read_bytes()
    ranks.cli(1, "train", str(recipe), "--resume", "auto", "trackers=[]").must_succeed()
    assert json.loads((run / "result.json").read_text())["steps"] == 8
    assert (run / "export" / "prompt.safetensors").read_bytes() == exported


def logged_steps(run: Path) -> list[int]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = {path.parent for path in run.rglob("events.out.tfevents.*")}
    events = EventAccumulator(str(folder))
    events.Reload()
    return [event.step for event in events.Scalars("loss")]


def test_a_loss_that_is_not_finite_stops_with_a_message(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, "bert", train={"lr": 1e30, "clip": None, "micro_batch": 6})
    ended = ranks.cli(1, "train", str(recipe))
    assert ended.code == 2
    assert "step 2: the loss or its gradient is not finite. Lower train.lr" in ended.outputs[0]
    assert "Traceback" not in ended.outputs[0]
