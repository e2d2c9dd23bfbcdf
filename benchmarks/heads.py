"""A linear head against the words of a verbalizer, by method, on a T5 pre-trained here.

The backbone is `ptv2_scale.demo.pretrain`'s t5-cloze, which is made in WORK on first use, and the
tasks are classifications in the demo's language. From the repository's root:

    .venv/bin/python benchmarks/heads.py WORK [TASK ...]

Two tasks: `service` asks for the verdict on service, by a pattern like the lines that the backbone
was pre-trained on; `alike` is the demo's, whether service and food fared alike, of which the
backbone has read nothing. Each cell is the better of two rates, with the same rows, batches and
steps. A run that is in WORK already is not made again. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grid import best_of, percent, print_table, row, train_sections

from ptv2_scale.demo.language import generate_task, write_rows
from ptv2_scale.demo.more_tasks import labelled_verdicts, write_task
from ptv2_scale.demo.pretrain import ensure_pretrained

SIZES = {"train": 2000, "validation": 500}
STEPS = 150
PREFIX = {"method": "prefix", "length": 20, "dropout": 0.0}
PROMPT = {"method": "prompt", "length": 20}
# By method: its section, and the rates of which the better one counts.
METHODS: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
    "none": ({"method": "none"}, (1e-2, 1e-1)),
    "discrete": ({"method": "discrete"}, (1e-2,)),  # makes no step
    "prefix": (PREFIX, (1e-2, 3e-2)),
    "prompt": (PROMPT, (3e-2, 3e-1)),
    "full": ({"method": "full"}, (3e-4, 1e-3)),
}
HEADS = {
    "linear": ("none", "prefix", "prompt", "full"),
    "verbalizer": ("discrete", "prefix", "prompt", "full"),
}


@dataclass(frozen=True)
class Task:
    """A task: its labels with their words, and the pattern that asks for them."""

    name: str
    words: dict[str, str]
    pattern: str


TASKS = (
    Task("service", {"poor": "poor", "good": "good"}, "{text} service {mask} ."),
    Task("alike", {"0": "poor", "1": "good"}, "{text} {mask} ."),
)


def write_data(task: Task, folder: Path) -> Path:
    """The task's rows, made anew in `folder`."""
    if task.name == "service":
        return write_task(folder, labelled_verdicts, SIZES)
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in generate_task(SIZES, seed=31).items():
        write_rows(folder / f"{split}.jsonl", rows)
    return folder


def sections(task: Task, data: Path, backbone: Path, head: str, method: str) -> dict[str, Any]:
    """A recipe without its learning rate."""
    asked = {"pattern": task.pattern, "verbalizer": task.words} if head == "verbalizer" else {}
    return {
        "backbone": {"name": str(backbone), "dtype": "fp32"},
        "prompt": METHODS[method][0],
        "task": {
            "name": "classification",
            "path": str(data),
            "text": "text",
            "label": "label",
            "train": "train.jsonl",
            "validation": "validation.jsonl",
            "max_length": 96,
            "head": head,
            **asked,
        },
        "train": {
            "steps": STEPS,
            "global_batch": 16,
            "micro_batch": 16,
            "schedule": "linear",
            "warmup": 0.05,
        },
        "evaluate": {"every": STEPS, "micro_batch": 100},
        "deepspeed": "zero1",
    }


def run_cell(task: Task, work: Path, backbone: Path, head: str, method: str) -> str:
    """A row of the table: the better of the rates of a method with a head."""
    data, results = work / "data" / task.name, []
    rates = METHODS[method][1]
    for rate in rates:
        recipe = sections(task, data, backbone, head, method)
        recipe["train"]["lr"] = rate
        run = work / "runs" / f"{task.name}-{head}-{method}-{rate:g}"
        results.append(train_sections(run, recipe))
    best = best_of(results)
    found, trains = results[best], method != "discrete"
    return row(
        task.name,
        head,
        method,
        percent(found["trivial"]),
        percent(found["value"]),
        f"{rates[best]:g}" if trains else "-",
        f"{found['trained_parameters']:,}",
        ", ".join(str(round(result["seconds"])) for result in results),
    )


def main() -> None:
    """Run what is not there yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder for the backbone, the rows and the runs")
    names = [task.name for task in TASKS]
    parser.add_argument("tasks", nargs="*", help=f"of {', '.join(names)}; default: all")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    backbone = ensure_pretrained(work / "t5-cloze", "t5-cloze")
    rows = []
    for task in TASKS:
        if task.name not in (arguments.tasks or names):
            continue
        write_data(task, work / "data" / task.name)
        cells = [(head, method) for head, methods in HEADS.items() for method in methods]
        rows += [run_cell(task, work, backbone, *cell) for cell in cells]
    headings = "task, head, method, majority, validation, rate, trained, seconds"
    print_table(headings.split(", "), rows)


if __name__ == "__main__":
    main()
