"""Time that a sweep takes beside that of the launches of its trials, one after another.

The demo is swept over learning rates by `ptv2-scale sweep`, in the folder WORK, once for each
number of steps of a trial:

    .venv/bin/python benchmarks/sweep_overhead.py WORK --steps 200 1000 --trials 3

Prints a Markdown table: median time of a launch, the sweep's wall time from its start to its end,
and what of it lies before the first launch (Python's imports, the table of cells, the state), from
the end of a launch to the start of the next one, and after the last one; the share is that of all
three. Other work on the machine lengthens all of them. Processor time hardly depends on it: that of
the sweep's own process, and that of all its launches.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

SWEEP = """
recipe: demo
folder: {folder}/runs
set: {{train.epochs: null, train.steps: {steps}, train.head_only_baseline: false}}
grid: {{train.lr: {rates}}}
launch: {{nproc: 1}}
"""
COLUMNS = ("trials", "steps", "a launch (s)", "the sweep (s)", "before (s)", "between (s)",
           "after (s)", "share", "CPU of the sweep (s)", "CPU of launches (s)")  # fmt: skip


def run_timed(sweep: Path, times: Path) -> int:
    """Run a sweep in this process, and write when launches began and ended, and what both took."""
    from ptv2_scale.cli import main
    from ptv2_scale.sweep.runners import launched

    real, spans = launched.launch, []

    def timed(*arguments: Any) -> Any:
        began = time.monotonic()
        try:
            return real(*arguments)
        finally:
            spans.append((began, time.monotonic()))

    launched.launch = timed
    code = main(["sweep", str(sweep)])
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = [one.ru_utime + one.ru_stime for one in used]
    times.write_text(json.dumps({"spans": spans, "cpu": cpu}))
    return code


def measure(folder: Path, trials: int, steps: int) -> list[str]:
    """A row of the table."""
    folder.mkdir(parents=True)
    sweep, times = folder / "sweep.yaml", folder / "times.json"
    rates = [round(0.001 * (1 + number), 6) for number in range(trials)]
    sweep.write_text(SWEEP.format(folder=folder, steps=steps, rates=rates))
    began = time.monotonic()  # of the system: the same clock in every process
    subprocess.run([sys.executable, __file__, folder, "--run"], check=True, stdout=sys.stderr)
    ended = time.monotonic()
    seen = json.loads(times.read_text())
    spans, cpu = seen["spans"], seen["cpu"]
    assert len(spans) == trials, "a trial was launched again"
    launches = [end - start for start, end in spans]
    between = [later[0] - earlier[1] for earlier, later in zip(spans, spans[1:], strict=False)]
    figures = [median(launches), ended - began, spans[0][0] - began, median(between or [0.0]),
               ended - spans[-1][1]]  # fmt: skip
    share = 1 - sum(launches) / (ended - began)
    row = [f"{one:.1f}" for one in figures]
    return [str(trials), str(steps), *row, f"{share:.1%}", *(f"{one:.1f}" for one in cpu)]


def main() -> int:
    """Measure, or be the sweep that is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="a new folder")
    parser.add_argument("--steps", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.run:
        return run_timed(asked.work / "sweep.yaml", asked.work / "times.json")
    print("|", " | ".join(COLUMNS), "|")
    print("|", "|".join(["---"] * len(COLUMNS)), "|", sep="")
    for steps in asked.steps:
        row = measure(asked.work.resolve() / str(steps), asked.trials, steps)
        print("|", " | ".join(row), "|", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
