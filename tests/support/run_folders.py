"""Run directories made by hand: recipe, status, metrics, checkpoints, result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from ptv2_scale.checkpoint.run_directory import MARK

RESULT = {
    "task": "superglue/rte", "split": "validation", "metric": "accuracy", "value": 0.75,
    "trivial": 0.5, "trivial_answer": "the most frequent class", "best_step": 4, "steps": 8,
    "trained_parameters": 10, "backbone_parameters": 90, "seconds": 5400.0,
    "peak_memory_bytes": 1, "ranks": 2,
}  # fmt: skip


def make_run(path: Path, state: str = "done", **changes: Any) -> Path:
    """A run of eight steps with evaluations after 4 and 8; `changes` are of the recipe."""
    recipe: dict[str, Any] = {
        "backbone": {"name": "/models/t5-large", "dtype": "bf16"},
        "task": {"name": "superglue/rte", "max_length": 256},
        "prompt": {"method": "prefix", "length": 100},
        "train": {"lr": 0.005, "steps": 8},
        "run": str(path),
    }
    for key, value in changes.items():
        section, _, name = key.partition("__")
        recipe[section] = {**recipe[section], name: value} if name else value
    for step in (4, 8):
        folder = path / "checkpoints" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        (folder / "part").write_bytes(bytes(1000))
    (path / "recipe.yaml").write_text(MARK + yaml.safe_dump(recipe))
    (path / ".lock").touch()
    (path / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events()))
    code = {"done": 0, "stopped": 75, "failed": 3}.get(state)
    reason = "" if state in ("done", "running") else "rank 1 died\nat step 3"
    status = {"state": state, "exit_code": code, "step": 8, "reason": reason}
    (path / "status.json").write_text(json.dumps(status))
    if state == "done":
        (path / "result.json").write_text(json.dumps(RESULT))
        (path / "export").mkdir()
        (path / "export" / "card.json").write_text("{}")
    return path


def events() -> list[dict[str, Any]]:
    """As a run writes that was killed after step 5 and resumed from step 4."""
    first = [_step(number, 1.0) for number in range(1, 6)]
    again = [_step(number, 0.5) for number in range(5, 9)]
    return [
        *first[:4], _evaluation(4, 0.75, 0.25), first[4],
        {"event": "resumed", "step": 4, "epoch": 1.0, "wall_seconds": 6.0},
        *again, _evaluation(8, 0.625, 0.375),
    ]  # fmt: skip


def _step(number: int, loss: float) -> dict[str, Any]:
    rate = 0.005 * (1 - (number - 1) / 8)
    return {"event": "step", "step": number, "loss": loss / number, "learning_rate": rate,
            "gradient_norm": 1.0, "seconds": 1.0, "examples": 6, "tokens": 60,
            "epoch": number / 4, "wall_seconds": 2.0 * number}  # fmt: skip


def _evaluation(step: int, accuracy: float, loss: float) -> dict[str, Any]:
    return {"event": "evaluation", "step": step, "accuracy": accuracy, "f1": accuracy / 2,
            "validation_loss": loss, "epoch": step / 4, "wall_seconds": 2.0 * step + 1}  # fmt: skip


class Holder:
    """Another process that holds a run's lock, as a rank does."""

    def __init__(self, run: Path) -> None:
        program = (
            "import fcntl, os, sys; handle = os.open(sys.argv[1], os.O_RDWR);"
            " fcntl.lockf(handle, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
        )
        argv = [sys.executable, "-S", "-c", program, str(run / ".lock")]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"held\n"

    def __enter__(self) -> Holder:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()
