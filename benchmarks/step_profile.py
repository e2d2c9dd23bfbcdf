"""Where the time of an optimizer step goes, by Python's profiler.

The recipes of `step.py`, in the stages that it compares, by two ranks of this host (gloo), without
a launcher and its watch:

    .venv/bin/python benchmarks/step_profile.py WORK

WORK is one of `step.py`. Prints a Markdown table of the first rank's seconds a step. What the
profiler takes itself is part of all of them, the more so the smaller a model is. Fetching weights
is part of both passes: to wait for their gathers, and to copy them out of the buffers they come in.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from step import ENGINES, WORLD, glm_recipe, overrides

STEPS = {"demo": (10, 60), "GLM-4": (2, 6)}  # before the profile, and in it
# (end of the file's path, function) of what is summed up, with all that it calls.
PARTS: Mapping[str, tuple[str, str]] = {
    "step": ("engine/trainer.py", "step"),
    "forward pass": ("deepspeed/runtime/engine.py", "forward"),
    "backward pass": ("torch/autograd/graph.py", "_engine_run_backward"),
    "fetching weights": ("zero/partitioned_param_coordinator.py", "fetch_sub_module"),
    "reducing gradients": ("deepspeed/runtime/engine.py", "allreduce_gradients"),
    "optimizer": ("deepspeed/runtime/engine.py", "_take_model_step"),
}


def rank(recipe: str, name: str, stage: str) -> None:
    """One rank; the first prints the seconds of each part as JSON."""
    from ptv2_scale.config.locate import load_run
    from ptv2_scale.engine.build import build_engine
    from ptv2_scale.engine.join import start, stop
    from ptv2_scale.engine.trainer import Trainer
    from ptv2_scale.model.setup import open_setup
    from ptv2_scale.runtime.heap import freed_memory_kept

    ranks = start(1)
    setup = open_setup(load_run(recipe, [*overrides(), f"deepspeed={stage}"])[0])
    engine, examples = build_engine(setup, ranks), setup.split("train").examples
    trainer = Trainer(engine, setup.task, examples, setup.config.train, setup.padding, ranks)
    before, count = STEPS[name]
    profile = cProfile.Profile()
    with freed_memory_kept():
        for number in range(before):
            trainer.step(number, False)
        with profile:
            for number in range(before, before + count):
                trainer.step(number, False)
    if ranks.first:
        print("FOUND", json.dumps({part: seconds / count for part, seconds in parts(profile)}))
    stop()


def parts(profile: cProfile.Profile) -> Iterator[tuple[str, float]]:
    """Seconds of each part, with all that it calls."""
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for part, (end, function) in PARTS.items():
        yield (
            part,
            sum(
                cumulative
                for (file, _, name), (_, _, _, cumulative, _) in stats.items()
                if file.endswith(end) and name == function
            ),
        )


def run(recipe: str, name: str, stage: str) -> dict[str, float]:
    """What the first of two ranks found."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [
        subprocess.Popen(
            [sys.executable, __file__, recipe, "--rank-of", name, "--stage", stage],
            env={
                **os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "RANK": str(one),
                "LOCAL_RANK": str(one), "WORLD_SIZE": str(WORLD), "LOCAL_WORLD_SIZE": str(WORLD),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "HF_HUB_OFFLINE": "1",
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for one in range(WORLD)
    ]  # fmt: skip
    lines = [line for one in ranks for line in one.communicate()[0].splitlines()]
    if any(one.returncode for one in ranks):
        raise SystemExit(f"{name}, {stage}: a rank failed")
    found: dict[str, float] = next(
        json.loads(line.removeprefix("FOUND")) for line in lines if line.startswith("FOUND")
    )
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", help="folder of step.py")
    parser.add_argument("--rank-of", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--stage", choices=ENGINES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.rank_of:
        rank(asked.work, asked.rank_of, asked.stage)
        return
    print(f"| recipe | stage | {' | '.join(PARTS)} |")
    print("|" + " --- |" * (len(PARTS) + 2))
    for name, recipe in {"demo": "demo", "GLM-4": str(glm_recipe(Path(asked.work)))}.items():
        for stage in ENGINES:
            found = run(recipe, name, stage)
            print(f"| {name} | `{stage}` | {' | '.join(f'{found[one]:.3f}' for one in PARTS)} |")


if __name__ == "__main__":
    main()
