"""Memory against time: layers of a frozen backbone that are computed again in the backward pass.

A prefix of 100 tokens is trained on the GLM-4 that `against_peft.py` makes (8 layers of width 512,
fp32), on texts of BoolQ in DATA that all have 256 tokens, by one process without sharding:

    .venv/bin/python benchmarks/checkpointing.py WORK DATA [--rounds 2] [--micro-batch 8]

Each number of layers from none to all trains the same batches in a process of its own, and numbers
take turns. Seconds are the median of optimizer steps, the first three left out. Memory is what
`peak_memory_bytes` of result.json has above that of the run with all layers: resident memory of
the whole process. Estimated is the same difference by `plan`. Prints a Markdown table and writes
WORK/checkpointing.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from against_peft import WARMUP_STEPS, make_materials, sections

STEPS, LAYERS = 9, 8
MIB = 2**20


def longest_texts(work: Path, rows: int) -> Path:
    """A folder with texts that are cut to the longest length, as often as needed."""
    folder = work / "longest"
    folder.mkdir(exist_ok=True)
    lines = (work / "task" / "train.jsonl").read_text("utf-8").splitlines()
    long = sorted(lines, key=len, reverse=True)[:rows]
    for name, some in (("train", long), ("validation", long[:2])):
        (folder / f"{name}.jsonl").write_text("\n".join(some) + "\n", "utf-8")
    return folder


def write_recipe(work: Path, micro_batch: int) -> Path:
    """The recipe of all runs."""
    found = sections(work)
    found["task"]["path"] = str(longest_texts(work, micro_batch * STEPS))
    train = {"steps": STEPS, "global_batch": micro_batch, "micro_batch": micro_batch}
    recipe = {
        **found, "train": train, "evaluate": {"every": STEPS, "micro_batch": 2},
        "deepspeed": "zero1",
    }  # fmt: skip
    path = work / "checkpointing.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def word(layers: int) -> str:
    """The recipe's word for a number of layers."""
    return f"train.gradient_checkpointing={json.dumps(layers or False)}"


def run(recipe: Path, layers: int) -> dict[str, float]:
    """One turn of a number of layers."""
    folder = recipe.parent / "run"
    shutil.rmtree(folder, ignore_errors=True)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "DS_ACCELERATOR": "cpu"}
    command = [sys.executable, "-m", "ptv2_scale", "train", str(recipe), f"run={folder}"]
    subprocess.run([*command, word(layers)], env=env, check=True, stdout=subprocess.DEVNULL)
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    steps = [one["seconds"] for one in records if one["event"] == "step"][WARMUP_STEPS:]
    result = json.loads((folder / "result.json").read_text())
    return {"seconds": median(steps), "memory": result["peak_memory_bytes"]}


def estimated(recipe: Path, layers: int) -> int:
    """Bytes of a rank by `plan`."""
    from ptv2_scale.config.locate import load_run
    from ptv2_scale.estimate.fitting import estimate
    from ptv2_scale.estimate.zero import Cluster
    from ptv2_scale.model.setup import open_shapes

    setup = open_shapes(load_run(str(recipe), [word(layers)])[0])
    return estimate(setup, Cluster(1, 1), "cpu").total


def table(found: list[dict[str, Any]]) -> Iterator[str]:
    """Rows of the table."""
    none, every = found[0], found[-1]
    yield "| layers | seconds a step | of none | memory above all, MiB | estimated | ratio |"
    yield "|" + " --- |" * 6
    for one in found:
        seconds = one["seconds"] / none["seconds"]
        above = (one["memory"] - every["memory"]) / MIB
        reckoned = (one["estimated"] - every["estimated"]) / MIB
        ratio = f"{reckoned / above:.2f}" if above > 0 else ""
        yield (
            f"| {one['layers']} of {LAYERS} | {one['seconds']:.3f} | {seconds:.2f}"
            f" | {above:.0f} | {reckoned:.0f} | {ratio} |"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder to be made, or one that was made by this")
    parser.add_argument("data", type=Path, help="folder with superglue/BoolQ")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--micro-batch", type=int, default=8)
    asked = parser.parse_args()
    make_materials(asked.work, asked.data)
    recipe = write_recipe(asked.work.resolve(), asked.micro_batch)
    turns: dict[int, list[dict[str, float]]] = {layers: [] for layers in range(LAYERS + 1)}
    for _ in range(asked.rounds):
        for layers, each in turns.items():
            each.append(run(recipe, layers))
            print(f"{layers} layers: {each[-1]}", file=sys.stderr, flush=True)
    found = [
        {
            "layers": layers,
            "seconds": median(one["seconds"] for one in each),
            "memory": max(one["memory"] for one in each),
            "estimated": estimated(recipe, layers),
        }
        for layers, each in turns.items()
    ]
    (asked.work / "checkpointing.json").write_text(json.dumps(found, indent=1))
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
