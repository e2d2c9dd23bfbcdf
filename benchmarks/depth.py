"""What prompting fewer layers saves: time and kept activations of a training step.

Layers below the lowest prompted one get no gradient, so nothing of them is kept for the backward
pass, nor recomputed in it. The model is that of `memory.py` (Llama class, random weights, 8 layers
of width 1024), with a prefix of 100 tokens, in one process with one thread and without DeepSpeed:

    .venv/bin/python benchmarks/depth.py WORK

Prints a Markdown table. Steps of all settings take turns, and a time is the median over the
rounds, as a share of that of all layers. Kept is what a forward pass has allocated and not given
back, by PyTorch's profiler.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import torch
from memory import PREFIX, ROWS, TOKENS, prepare
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from ptv2_scale.backbones.attention import enable_checkpointing
from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.config import load_recipe
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import build_model, first_values, model_filler, open_setup

LAYERS = ("1-8", "1-1", "1-4", "5-8", "7-8", "8-8")
ROUNDS = 5


def load(recipe: Path, layers: str, checkpointing: bool) -> PromptedModel:
    """The prompted model with first values, as training starts with it."""
    setup = open_setup(load_recipe(recipe, (f"prompt.layers={layers}", "backbone.dtype=fp32")))
    model = build_model(setup)
    fill = model_filler(setup, model, NamedTensors(first_values(setup)))
    materialise(model, fill, Unsharded(torch.device("cpu")))
    if checkpointing:
        enable_checkpointing(model.backbone)
    return model.train()


def kept_bytes(model: PromptedModel, batch: dict[str, Tensor]) -> int:
    """What a forward pass has allocated and not given back before its backward pass."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        outputs = model(**batch)
    kept = sum(event.self_cpu_memory_usage for event in profiler.key_averages())
    outputs.logits.sum().backward()
    return int(kept)


def step(model: PromptedModel, batch: dict[str, Tensor]) -> None:
    """Forward and backward pass."""
    model(**batch).logits.sum().backward()


def seconds_of(model: PromptedModel, batch: dict[str, Tensor]) -> float:
    """Wall-clock time of one step."""
    start = time.perf_counter()
    step(model, batch)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder to be made")
    recipe = prepare(parser.parse_args().work)
    torch.set_num_threads(1)
    torch.manual_seed(5)
    batch = {"input_ids": torch.randint(4, 1000, (ROWS, TOKENS))}
    print("| prompted layers | checkpointing | time of a step | seconds | kept MiB |")
    print("|" + " --- |" * 5)
    for checkpointing in (False, True):
        models = {layers: load(recipe, layers, checkpointing) for layers in LAYERS}
        kept = {layers: kept_bytes(model, batch) for layers, model in models.items()}
        times = {layers: [0.0] * ROUNDS for layers in LAYERS}
        for turn in range(ROUNDS):
            for layers, model in models.items():
                times[layers][turn] = seconds_of(model, batch)
        whole = median(times["1-8"])
        for layers in LAYERS:
            own = median(times[layers])
            cells = (
                f"{layers} of 8", "with" if checkpointing else "without",
                f"{own / whole:.2f}", f"{own:.2f}", f"{kept[layers] / 2**20:.0f}",
            )  # fmt: skip
            print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\nPrefix of {PREFIX} tokens, {ROWS} texts of {TOKENS} tokens.")


if __name__ == "__main__":
    main()
