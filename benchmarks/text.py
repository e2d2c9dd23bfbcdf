"""A prefix that makes a pre-trained model write what a task wants: a causal model and a T5.

Both are `ptv2_scale.demo.pretrain`'s (llama, t5-cloze), made in WORK on first use. The task: read a
report on four aspects of a stay and write the verdicts on two of them, in a fixed order, and no
more. From the repository's root:

    .venv/bin/python benchmarks/text.py WORK

Prints a Markdown table: exact answers of the most frequent answer, of the model as it was
pre-trained, and with the better of two prefixes. A run that is in WORK already is not made again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from grid import best_of, percent, print_table, row, train_sections

from ptv2_scale.demo.more_tasks import write_task, written_verdicts
from ptv2_scale.demo.pretrain import ensure_pretrained

SIZES = {"train": 4000, "validation": 500}
STEPS = 300
RATES = (1e-2, 3e-2)
PREFIX = {"method": "prefix", "length": 20, "dropout": 0.0}


def sections(model: Path, data: Path, prompt: dict[str, Any], rate: float) -> dict[str, Any]:
    """A recipe of the task for one model."""
    return {
        "backbone": {"name": str(model), "dtype": "fp32"},
        "prompt": prompt,
        "task": {
            "name": "text",
            "path": str(data),
            "train": "train.jsonl",
            "validation": "validation.jsonl",
            "max_length": 96,
            "metric": "exact_match",
        },
        "train": {
            "steps": STEPS,
            "global_batch": 32,
            "micro_batch": 32,
            "lr": rate,
            "schedule": "linear",
            "warmup": 0.05,
        },
        "evaluate": {"every": STEPS // 3, "micro_batch": 100},
        "deepspeed": "zero1",
    }


def run_model(name: str, work: Path, data: Path) -> str:
    """The row of a model: without a prefix, and the better of two with one."""
    model = ensure_pretrained(work / name, name)
    runs = work / "runs"
    bare = train_sections(
        runs / f"{name}-discrete", sections(model, data, {"method": "discrete"}, RATES[0])
    )
    results = [
        train_sections(runs / f"{name}-prefix-{rate:g}", sections(model, data, PREFIX, rate))
        for rate in RATES
    ]
    best = best_of(results)
    found = results[best]
    return row(
        name,
        percent(found["trivial"]),
        percent(bare["value"]),
        percent(found["value"]),
        f"{RATES[best]:g}",
        f"{found['best_step']} of {found['steps']}",
        f"{found['trained_parameters']:,}",
        ", ".join(str(round(result["seconds"])) for result in results),
    )


def main() -> None:
    """Run what is not there yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder for the models, the rows and the runs")
    work: Path = parser.parse_args().work.resolve()
    data = write_task(work / "data", written_verdicts, SIZES)
    headings = (
        "model, most frequent answer, without a prefix, with a prefix, rate, best step, trained,"
        " seconds"
    )
    print_table(
        headings.split(", "), [run_model(name, work, data) for name in ("llama", "t5-cloze")]
    )


if __name__ == "__main__":
    main()
