"""Size and time of a checkpoint, beside DeepSpeed's own of the same engine.

A Llama-class model with random weights (8 layers of width 1024, as in memory.py) with a prefix of
100 tokens is made in WORK, and two ranks save it in three ways, each five times:

    .venv/bin/python benchmarks/checkpoints.py WORK

Prints a Markdown table: bytes on disk, the median time of a save (all ranks, until it is synced to
the disk for ours; DeepSpeed does not sync), and what is unpickled to read it again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TIMES = 5


def measure(recipe: Path) -> dict[str, dict[str, float]]:
    """Bytes and seconds of each way, on this rank."""
    import torch.distributed

    from ptv2_scale.checkpoint.file_systems import find_file_systems
    from ptv2_scale.checkpoint.store import TrainerState, save
    from ptv2_scale.config import load_recipe
    from ptv2_scale.engine import join
    from ptv2_scale.engine.build import build_engine
    from ptv2_scale.engine.state import local_shards
    from ptv2_scale.model.setup import open_setup

    setup = open_setup(load_recipe(recipe, ["backbone.dtype=bf16", "train.micro_batch=2"]))
    ranks = join.start(1, 600.0)
    engine = build_engine(setup, ranks)
    target = recipe.parent / "saved"
    (target / "checkpoints").mkdir(parents=True, exist_ok=True)
    groups = find_file_systems(target, ranks)

    def ours() -> None:
        save(target, TrainerState(step=1), local_shards(engine), groups)

    def deepspeed(**options: Any) -> Callable[[], None]:
        return lambda: engine.save_checkpoint(str(target / "deepspeed"), tag="step1", **options)

    ways = {
        "ptv2_scale": ours,
        "DeepSpeed, default": deepspeed(),
        "DeepSpeed, exclude_frozen_parameters": deepspeed(exclude_frozen_parameters=True),
    }
    found = {}
    for name, way in ways.items():
        seconds = []
        for _ in range(TIMES):
            torch.distributed.barrier()
            if ranks.first:
                shutil.rmtree(target)
                (target / "checkpoints").mkdir(parents=True)
            torch.distributed.barrier()
            began = time.perf_counter()
            way()
            torch.distributed.barrier()
            seconds.append(time.perf_counter() - began)
        size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
        found[name] = {"bytes": size, "seconds": statistics.median(seconds)}
    return found


def run_ranks(recipe: Path, world: int) -> dict[str, dict[str, float]]:
    """Measure on several ranks; what the first one found."""
    from ptv2_scale.launchers.rank_group import free_port

    port, output = str(free_port()), recipe.parent / "measured.json"
    processes = []
    for rank in range(world):
        env = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        env |= {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "LOCAL_WORLD_SIZE": str(world),
        }
        command = [sys.executable, __file__, str(recipe.parent), "--rank"]
        processes.append(subprocess.Popen(command, env={**os.environ, **env}, stdout=sys.stderr))
    codes = [process.wait() for process in processes]
    if any(codes):
        raise SystemExit("a rank failed")
    return dict(json.loads(output.read_text()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder to be made")
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rank:
        found = measure(arguments.work / "recipe.yaml")
        if os.environ["RANK"] == "0":
            (arguments.work / "measured.json").write_text(json.dumps(found))
        return
    from memory import prepare

    found = run_ranks(prepare(arguments.work), 2)
    ours = found["ptv2_scale"]
    print("| way | bytes | times ours | seconds | times ours |\n| --- | --- | --- | --- | --- |")
    for name, row in found.items():
        bytes_, seconds = row["bytes"], row["seconds"]
        cells = [f"{bytes_:,}", f"{bytes_ / ours['bytes']:.1f}", f"{seconds:.3f}"]
        print(f"| {name} | {' | '.join(cells)} | {seconds / ours['seconds']:.1f} |")


if __name__ == "__main__":
    main()
