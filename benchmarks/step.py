"""An optimizer step of a run against its floor: the bare backbone, forward and backward.

Two recipes are run by two ranks of this host (gloo): the demo, and a prefix of 100 tokens on the
GLM-4 that `against_peft.py` makes, with BoolQ's texts in DATA:

    .venv/bin/python benchmarks/step.py WORK DATA [--rounds 2]

Beside each recipe, the batches of its first steps are run by two processes without DeepSpeed, one
for the texts of each rank: the frozen backbone alone, with a gradient down to its embeddings, and
the same backbone with the prefix, the head and the loss. The second one has the longer keys that a
prefix needs. Seconds are medians of optimizer steps, the first three left out; sides take turns.
Prints a Markdown table and writes WORK/step.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from against_peft import WARMUP_STEPS, WORLD, make_materials, sections

STEPS = 13
ENGINES = ("zero3", "zero1")
PLAIN = ("backbone alone", "with its prefix")


def glm_recipe(work: Path) -> Path:
    """The recipe of the GLM-4."""
    recipe = {
        **sections(work),
        "train": {"micro_batch": 4, "global_batch": 16, "lr": 1e-3},
    }
    file = work / "glm.yaml"
    file.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return file


def overrides() -> list[str]:
    """What is said of a recipe for all sides alike."""
    return [f"train.steps={STEPS}", "train.epochs=null", "train.head_only_baseline=false"]


def run_engine(recipe: str, stage: str, work: Path) -> float:
    """Seconds a step of a run."""
    run = work / "run"
    shutil.rmtree(run, ignore_errors=True)
    command = [sys.executable, "-m", "ptv2_scale", "launch", recipe, "--nproc", str(WORLD)]
    _wait([_start([*command, f"run={run}", f"deepspeed={stage}", *overrides()])])
    records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return median([one["seconds"] for one in records if one["event"] == "step"][WARMUP_STEPS:])


def run_plain(recipe: str, what: str) -> float:
    """Seconds a step without DeepSpeed, of the rank that takes longer."""
    ranks = [
        _start([sys.executable, __file__, recipe, "--plain", what, "--rank", str(one)])
        for one in range(WORLD)
    ]
    return max(float(output.split()[-1]) for output in _wait(ranks))


def _start(command: Sequence[str]) -> subprocess.Popen[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "DS_ACCELERATOR": "cpu"}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def _wait(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    outputs = [one.communicate()[0] for one in processes]
    if any(one.returncode for one in processes):
        raise SystemExit("a side failed")
    return outputs


def plain_step(recipe: str, what: str, rank: int) -> float:
    """Seconds of a rank's share of a step, by plain PyTorch."""
    import torch

    from ptv2_scale.backbones.load import load_backbone
    from ptv2_scale.config.locate import load_run
    from ptv2_scale.data.dealing import accumulation, deal
    from ptv2_scale.data.order import epoch_batches
    from ptv2_scale.model.setup import build_model, first_values, open_setup
    from ptv2_scale.runtime.heap import freed_memory_kept

    torch.set_num_threads(1)
    setup = open_setup(load_run(recipe, overrides())[0])
    config, examples = setup.config, setup.split("train").examples
    backbone = load_backbone(str(setup.files.folder), dtype=config.backbone.dtype)
    model = build_model(setup, backbone).train()
    values = first_values(setup)
    for name, parameter in model.trained().items():
        holder, _, own = name.rpartition(".")
        setattr(model.get_submodule(holder), own, torch.nn.Parameter(values[name]))
        del parameter
    if what == PLAIN[0]:
        model.requires_grad_(False)
        words = model.backbone.get_input_embeddings().weight
        for module in model.backbone.modules():  # encoder and decoder may have one each
            if getattr(module, "weight", None) is words:
                module.register_forward_hook(lambda _module, _given, made: made.requires_grad_())
    train = config.train
    batches = epoch_batches([one.length for one in examples], train.global_batch, train.seed, 0)
    steps = accumulation(train.global_batch, train.examples, WORLD, "examples")

    def run(micro: list[int]) -> None:
        rows = setup.task.collate([examples[index] for index in micro], setup.padding)
        output = model(entry=None if what == PLAIN[0] else "own", **rows.arguments)
        if what == PLAIN[0]:
            output.features.sum().backward()
        else:
            setup.task.loss_sum(output.outputs, rows.targets).backward()

    seconds = []
    with freed_memory_kept():
        for batch in batches[:STEPS]:
            began = time.perf_counter()
            for micro in deal(batch, rank, WORLD, train.examples, steps):
                run(micro)
            seconds.append(time.perf_counter() - began)
    return median(seconds[WARMUP_STEPS:])


def table(found: Mapping[str, Mapping[str, Sequence[float]]]) -> Iterator[str]:
    """Rows of the table."""
    yield "| recipe | side | seconds a step | each turn | of the backbone alone | of the prefix |"
    yield "|" + " --- |" * 6
    for recipe, sides in found.items():
        alone, prefix = (median(sides[side]) for side in PLAIN)
        for side, each in sides.items():
            one = median(each)
            turns = " / ".join(f"{turn:.3f}" for turn in each)
            yield (
                f"| {recipe} | {side} | {one:.3f} | {turns} | {one / alone:.2f}"
                f" | {one / prefix:.2f} |"
            )


def measure(recipes: Mapping[str, str], work: Path, rounds: int) -> dict[str, Any]:
    """All turns of all sides."""
    found: dict[str, dict[str, list[float]]] = {
        name: {side: [] for side in (*PLAIN, *ENGINES)} for name in recipes
    }
    for _ in range(rounds):
        for name, recipe in recipes.items():
            for side, each in found[name].items():
                plain = side in PLAIN
                each.append(run_plain(recipe, side) if plain else run_engine(recipe, side, work))
                print(f"{name}, {side}: {each[-1]:.3f}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", help="folder to be made, or one that was made by this")
    parser.add_argument("data", type=Path, nargs="?", help="folder with superglue/BoolQ")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--plain", choices=PLAIN, help=argparse.SUPPRESS)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.plain:
        print(plain_step(asked.work, asked.plain, asked.rank))
        return
    work = Path(asked.work)
    make_materials(work, asked.data)
    found = measure({"demo": "demo", "GLM-4": str(glm_recipe(work))}, work, asked.rounds)
    (work / "step.json").write_text(json.dumps(found, indent=1))
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
