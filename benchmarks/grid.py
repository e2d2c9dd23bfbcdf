"""What the benchmarks share: one run a process, one thread each, and Markdown tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml


def train(recipe: Path, run: Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Train a recipe in a process of its own, unless the run is there; returns its result."""
    result = run / "result.json"
    if not result.exists():
        command = [sys.executable, "-m", "ptv2_scale", "train", str(recipe), f"run={run}"]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        resumed = (*command, "--resume", "auto")
        subprocess.run([*resumed, *overrides], check=True, stdout=sys.stderr, env=env)
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def train_sections(run: Path, sections: dict[str, Any]) -> dict[str, Any]:
    """The same of a recipe of these sections, which is kept beside the run."""
    run.parent.mkdir(parents=True, exist_ok=True)
    recipe = run.parent / f"{run.name}.yaml"
    recipe.write_text(yaml.safe_dump(sections, sort_keys=False), encoding="utf-8")
    return train(recipe, run)


def best_of(results: Sequence[dict[str, Any]]) -> int:
    """Place of the run with the best value."""
    return max(range(len(results)), key=lambda place: results[place]["value"])


def row(*cells: object) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def percent(value: float) -> str:
    """A metric as it is printed in papers: times 100."""
    return f"{100 * value:.1f}"


def print_table(headings: Sequence[str], rows: Iterable[str]) -> None:
    """Print a Markdown table."""
    print("\n".join([row(*headings), row(*["---"] * len(headings)), *rows]) + "\n")
