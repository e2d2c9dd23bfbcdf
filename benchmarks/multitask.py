"""Multi-task P-Tuning v2 against single tasks: two tasks share a prefix, each with its own head.

Backbone, data, rows and batches are those of `paper.py`, and runs on single tasks are shared with
it. From the repository's root:

    .venv/bin/python benchmarks/multitask.py DATA WORK TASK TASK

The shared prefix is trained on as many rows as both single runs together. Then it is where training
on each task alone starts from, for as long again. Every run has the first seed. Prints a Markdown
table; scores are times 100.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from grid import percent, print_table, row, train
from paper import (
    ALWAYS,
    P_TUNING_V2,
    RECIPES,
    SMALL_BATCHES,
    TABLES,
    Contender,
    Experiment,
    Trial,
    make_files,
    run_trial,
)

SEED = 11


def shared_recipe(tasks: Sequence[Experiment], work: Path) -> Path:
    """Write the recipe that trains one prefix for the tasks."""
    recipe: dict[str, Any] = yaml.safe_load(
        (RECIPES / f"minilm-{tasks[0].name}.yaml").read_text("utf-8")
    )
    recipe["task"] = {"name": "multi", "tasks": {task.name: section(task, work) for task in tasks}}
    path = work / f"{'-'.join(task.name for task in tasks)}.yaml"
    path.write_text(yaml.safe_dump(recipe), "utf-8")
    return path


def section(task: Experiment, work: Path) -> dict[str, Any]:
    """The section of one task, as its own recipe has it."""
    own: dict[str, Any] = yaml.safe_load((RECIPES / f"minilm-{task.name}.yaml").read_text("utf-8"))[
        "task"
    ]
    changes = [text for text in task.overrides if text.startswith("task.")]
    own |= {text[5:].partition("=")[0]: yaml.safe_load(text.partition("=")[2]) for text in changes}
    return {**own, "path": str(work / task.name)}


def train_shared(tasks: Sequence[Experiment], rate: str, work: Path) -> Path:
    """The run that trains one prefix for the tasks, made unless it is there."""
    run = work / f"{'-'.join(task.name for task in tasks)}-{rate}-{SEED}"
    overrides = (*ALWAYS, SMALL_BATCHES, f"train.lr={rate}", f"train.seed={SEED}")
    train(shared_recipe(tasks, work), run, overrides)
    return run


def best_scores(run: Path) -> dict[str, float]:
    """Every metric of a run's best evaluation, by name."""
    step = json.loads((run / "result.json").read_text())["best_step"]
    for line in reversed((run / "metrics.jsonl").read_text().splitlines()):
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "evaluation" and event["step"] == step:
            return event
    raise SystemExit(f"{run}: no evaluation at step {step}.")


def compare(tasks: Sequence[Experiment], work: Path) -> list[str]:
    """One row a task: alone, together, and alone again from the shared prefix."""
    singles = [
        [run_trial(Trial(task, P_TUNING_V2, rate, SEED), work) for rate in P_TUNING_V2.rates]
        for task in tasks
    ]
    shared = {rate: train_shared(tasks, rate, work) for rate in P_TUNING_V2.rates}
    rows = []
    for task, single in zip(tasks, singles, strict=True):
        key = f"{task.name}/{single[0]['metric']}"
        shared_scores = {rate: best_scores(run)[key] for rate, run in shared.items()}
        best = max(shared_scores, key=shared_scores.__getitem__)
        start = f"{{length: 20, init: saved, init_from: {shared[best] / 'export'}}}"
        name = f"from {'-'.join(one.name for one in tasks)}"
        after = [
            run_trial(Trial(task, Contender(name, start, ()), rate, SEED), work)
            for rate in P_TUNING_V2.rates
        ]
        cells = (
            single[0]["task"],
            percent(single[0]["trivial"]),
            percent(max(one["value"] for one in single)),
            percent(shared_scores[best]),
            percent(max(one["value"] for one in after)),
        )
        rows.append(row(*cells))
    return rows


def main() -> None:
    """Run and print."""
    known = {one.name: one for table in TABLES.values() for one in table.experiments}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="see paper.py")
    parser.add_argument("work", type=Path, help="folder for the runs")
    parser.add_argument("tasks", nargs=2, choices=known, metavar="TASK", help=", ".join(known))
    arguments = parser.parse_args()
    tasks = [known[name] for name in arguments.tasks]
    for task in tasks:
        make_files(task, arguments.data, arguments.work)
    rows = compare(tasks, arguments.work)
    headings = ("task", "trivial", "alone", "together", "alone, from the shared prefix")
    print_table(headings, rows)


if __name__ == "__main__":
    main()
