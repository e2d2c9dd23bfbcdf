"""A frozen backbone in 8 bits beside the same in bf16 and fp32: bytes, gradients, scores.

    .venv/bin/python benchmarks/int8.py WORK [RECIPE ...] [--overrides KEY=VALUE ...]

RECIPE is `demo` where none is named. Each is run by two ranks of this host (gloo) in four ways: in
fp32 and in bf16, each with and without `backbone.quantization: int8`. Bytes are those of the
backbone's parameters. Gradients are those of the first 8 batches of 32 training texts at the first
values, whole, in one process without DeepSpeed; a difference is |g - g'| / |g'|, where g' is fp32's
of the same batch, and the least and the most of them are printed. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.config.locate import load_run
from ptv2_scale.estimate.parameters import part_sizes
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import Setup, build_model, first_values, model_filler, open_setup

WAYS = {
    "fp32": ("backbone.dtype=fp32", "backbone.quantization=null"),
    "fp32, int8": ("backbone.dtype=fp32", "backbone.quantization=int8"),
    "bf16": ("backbone.dtype=bf16", "backbone.quantization=null"),
    "bf16, int8": ("backbone.dtype=bf16", "backbone.quantization=int8"),
}
BATCHES, TEXTS = 8, 32


def gradients_of(setup: Setup, model: PromptedModel) -> list[Tensor]:
    """The gradient of all that is trained for each batch, as an fp32 vector."""
    values = NamedTensors(first_values(setup))
    materialise(model, model_filler(setup, model, values), Unsharded())
    model.eval()  # without dropout
    trained, examples = list(model.trained().values()), setup.split("train").examples
    found = []
    for start in range(0, BATCHES * TEXTS, TEXTS):
        batch = setup.task.collate(examples[start : start + TEXTS], setup.padding)
        loss = setup.task.loss_sum(model(**batch.arguments).outputs, batch.targets)
        gradients = torch.autograd.grad(loss, trained)
        found.append(torch.cat([one.float().view(-1) for one in gradients]))
    return found


def result_of(recipe: str, words: list[str], run: Path) -> dict[str, Any]:
    """What a run of two ranks ends with."""
    command = [sys.executable, "-m", "ptv2_scale", "launch", recipe, "--nproc", "2"]
    subprocess.run([*command, f"run={run}", *words], check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads((run / "result.json").read_text())
    return found


def rows(work: Path, recipe: str, overrides: list[str]) -> list[list[str]]:
    """The lines of one recipe."""
    made, exact = [], list[Tensor]()
    for number, (way, own) in enumerate(WAYS.items()):
        words = [*overrides, *own]
        setup = open_setup(load_run(recipe, words)[0])
        model = build_model(setup)
        backbone = next(part for part in part_sizes(model) if part.part == "backbone")
        gradients = gradients_of(setup, model)
        exact = exact or gradients
        pairs = zip(gradients, exact, strict=True)
        differences = [float((one - whole).norm() / whole.norm()) for one, whole in pairs]
        apart = f"{min(differences):.4f} to {max(differences):.4f}"
        result = result_of(recipe, words, work / f"{Path(recipe).stem}-{number}")
        score = f"{result['metric']} {result['value']:.4f}, loss {result['validation_loss']:.4f}"
        made.append([Path(recipe).stem, way, f"{backbone.nbytes:,}", apart, score])
    return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder for runs")
    parser.add_argument("recipes", nargs="*", default=["demo"])
    parser.add_argument("--overrides", nargs="*", default=[], help="key=value, of all runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    heads = ["recipe", "kept in", "bytes", "gradients, from fp32's", "best evaluation"]
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
    for recipe in given.recipes:
        for row in rows(given.work, recipe, given.overrides):
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
