"""Runs whose ranks are killed in the middle, and what they leave."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import ranks


def losses(run: Path) -> dict[int, float]:
    """Loss of each step; of a step that was made twice, the last."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["event"] == "step"}


def steps_made(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_text().count('"event": "step"') if path.exists() else 0


def kill_after(recipe: Path, run: Path, world: int, step: int) -> None:
    """Start a run and kill -9 all of its ranks once it has made `step` steps."""
    processes = ranks.start(world, ("-m", "ptv2_scale", "train", str(recipe), f"run={run}"))
    deadline = time.monotonic() + 120
    while steps_made(run) < step and time.monotonic() < deadline:
        time.sleep(0.02)
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
    ended = ranks.wait(processes)
    assert ended.code == -signal.SIGKILL, ended.outputs[0]
