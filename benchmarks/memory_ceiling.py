"""The largest micro-batch under one ceiling of memory: this package against Trainer with PEFT.

The GLM-4, prefix and texts of `against_peft.py`, ZeRO-3 on two ranks, two optimizer steps of one
micro-batch each; micro-batches are doubled until a rank has more anonymous memory (RssAnon) than
the ceiling:

    .venv/bin/python benchmarks/memory_ceiling.py WORK DATA [--ceiling 2.0]

The sides are this package with no layer computed again in the backward pass, with all of them,
between which `train.gradient_checkpointing: auto` chooses by the memory there is, and Trainer with
PEFT, which refuses checkpointing with a prefix. Prints a Markdown table and writes
WORK/memory_ceiling.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

from against_peft import CHECKPOINTED, OURS, ROWS, SIDES, WORLD, Settings, make_materials

GROUPED = "PEFT, grouped by length"
STEPS, SMALLEST = 2, 4
LARGEST = ROWS // WORLD // STEPS


def peak(work: Path, side: str, micro_batch: int) -> int:
    """Most anonymous bytes of a rank in a short run of one side."""
    run = work / "runs" / "turn"
    shutil.rmtree(run.parent, ignore_errors=True)
    run.parent.mkdir()
    SIDES[side](work, run, Settings(micro_batch, micro_batch * WORLD, STEPS, "3"))
    return int(run.with_suffix(".memory").read_text())


def peaks(work: Path, side: str, ceiling: int) -> dict[int, int]:
    """Peaks by micro-batch; the last one is above the ceiling, unless the texts were all in it."""
    found: dict[int, int] = {}
    for size in (SMALLEST * 2**power for power in count()):
        if size > LARGEST:
            break
        found[size] = peak(work, side, size)
        print(f"{side}, {size}: {found[size] / 2**20:.0f} MiB", file=sys.stderr, flush=True)
        if found[size] > ceiling:
            break
    return found


def table(found: Mapping[str, Mapping[int, int]], ceiling: int) -> Iterator[str]:
    """Rows of the table."""
    sizes = sorted({size for each in found.values() for size in each})
    fitting = {side: max_below(each, ceiling) for side, each in found.items()}
    titles = ["side", *map(str, sizes), "largest that fits", "times PEFT's"]
    yield f"| {' | '.join(titles)} |"
    yield "|" + " --- |" * len(titles)
    for side, each in found.items():
        cells = [f"{each[size] / 2**20:.0f}" if size in each else "" for size in sizes]
        times = f"{fitting[side] / fitting[GROUPED]:.0f}" if fitting[GROUPED] else ""
        yield f"| {' | '.join([side, *cells, str(fitting[side]), times])} |"


def max_below(peaks_of_side: Mapping[int, int], ceiling: int) -> int:
    """The largest micro-batch whose peak is below a ceiling; 0: none is."""
    return max((size for size, one in peaks_of_side.items() if one <= ceiling), default=0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder to be made, or one of against_peft.py")
    parser.add_argument("data", type=Path, help="folder with superglue/BoolQ")
    parser.add_argument("--ceiling", type=float, default=2.0, help="GiB of a rank")
    asked = parser.parse_args()
    make_materials(asked.work, asked.data)
    ceiling = int(asked.ceiling * 2**30)
    found = {side: peaks(asked.work, side, ceiling) for side in (OURS, CHECKPOINTED, GROUPED)}
    (asked.work / "memory_ceiling.json").write_text(json.dumps(found, indent=1))
    print("\n".join(table(found, ceiling)))


if __name__ == "__main__":
    main()
