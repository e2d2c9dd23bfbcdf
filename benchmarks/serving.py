"""What many exports on one backbone cost: memory, latency of a row, rows a second.

A Llama-class model with random weights (4 layers of width 256) and exports with prefixes of 100
tokens, as they are before training, are made in WORK:

    .venv/bin/python benchmarks/serving.py WORK

Prints a Markdown table for 1, 10 and 100 exports, each number of them in a `Predictor` of its own,
one process, one thread. Rows name the exports in turn. Answers are classes, or texts of 8 tokens;
batches mix rows of all exports. Turns of all settings alternate, and a figure is the median over
the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch
import yaml
from memory import WORDS, llama_config, save_tokenizer

from ptv2_scale import Predictor
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.config import load_recipe
from ptv2_scale.export.card import Card
from ptv2_scale.export.native import write_export
from ptv2_scale.model.setup import first_values, open_setup

NUMBERS = (1, 10, 100)
ROWS, TOKENS, PREFIX, WRITTEN, BATCH, ROUNDS = 200, 32, 100, 8, 20, 3

Row = Mapping[str, str]


def save_backbone(folder: Path) -> None:
    """Save a random Llama-class model with its head over the vocabulary."""
    from transformers import LlamaForCausalLM

    torch.manual_seed(7)
    LlamaForCausalLM(llama_config(256, 4, 8)).save_pretrained(folder)
    save_tokenizer(folder)


def recipe_of(work: Path, kind: str) -> Path:
    """The recipe of the exports of a kind of task."""
    task: dict[str, Any] = {"name": kind, "path": str(work / "data"), "max_length": 64}
    files = {"train": f"{kind}.jsonl", "validation": f"{kind}.jsonl"}
    own = {"classification": {"text": "text", "label": "label"}, "text": {}}[kind]
    recipe = {
        "backbone": {"name": str(work / "backbone"), "dtype": "fp32"},
        "prompt": {"length": PREFIX},
        "task": {**task, **files, **own},
        "evaluate": {"micro_batch": BATCH},
    }
    path = work / f"{kind}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def text_of(number: int) -> str:
    """A text of `TOKENS` words."""
    return " ".join(WORDS[(number * 37 + place * 11) % len(WORDS)] for place in range(TOKENS))


def make_exports(work: Path, kind: str) -> list[Path]:
    """As many exports as are wanted at most, each with first values of its own."""
    recipe = recipe_of(work, kind)
    folders = [work / kind / f"e{number}" for number in range(max(NUMBERS))]
    for seed, folder in enumerate(folders):
        setup = open_setup(load_recipe(recipe, [f"train.seed={seed}", "prompt.init_scale=1.0"]))
        write_export(folder, Card.of(setup, {}), NamedTensors(first_values(setup)))
    return folders


def prepare(work: Path) -> None:
    """Make backbone and data in a new folder."""
    (work / "data").mkdir(parents=True)
    save_backbone(work / "backbone")
    labelled = [{"text": text_of(n), "label": ("no", "yes")[n % 2]} for n in range(8)]
    texts = [{"input": text_of(n), "target": "w1 w2"} for n in range(8)]
    for kind, rows in (("classification", labelled), ("text", texts)):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (work / "data" / f"{kind}.jsonl").write_text(lines)


@dataclass(frozen=True)
class Loaded:
    """Some exports on a backbone.

    Attributes:
        predictor: of them.
        seconds: that loading took.
        nbytes: resident bytes that the process has beyond those before.
    """

    predictor: Predictor
    seconds: float
    nbytes: int


def load(folders: Sequence[Path]) -> Loaded:
    """Load exports."""
    process = psutil.Process(os.getpid())
    before, began = process.memory_info().rss, time.perf_counter()
    predictor = Predictor.load(*folders)
    took = time.perf_counter() - began
    return Loaded(predictor, took, process.memory_info().rss - before)


def classify(loaded: Loaded, count: int) -> None:
    """Answer rows of all exports in turn by classes, in batches that mix them."""
    names = loaded.predictor.names
    rows: list[Row] = [{"text": text_of(n), "export": names[n % len(names)]} for n in range(count)]
    loaded.predictor.predict(rows)


def write(loaded: Loaded, count: int) -> None:
    """Answer rows of all exports in turn by texts, in batches that mix them."""
    names = loaded.predictor.names
    rows = [{"input": text_of(n), "export": names[n % len(names)]} for n in range(count)]
    loaded.predictor.generate(rows, max_new_tokens=WRITTEN)


def seconds_of(action: Callable[[], None]) -> float:
    """Wall-clock time."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def measure(
    settings: Sequence[Loaded], answer: Callable[[Loaded, int], None]
) -> list[tuple[float, float]]:
    """Of each setting the seconds that one row and that all rows take, medians over the rounds."""
    for loaded in settings:
        answer(loaded, 1)
    rounds = [
        [
            (
                seconds_of(lambda one=one: answer(one, 1)),
                seconds_of(lambda one=one: answer(one, ROWS)),
            )
            for one in settings
        ]
        for _ in range(ROUNDS)
    ]
    return [
        (median(turn[place][0] for turn in rounds), median(turn[place][1] for turn in rounds))
        for place in range(len(settings))
    ]


def table(kind: str, folders: Sequence[Path], answer: Callable[[Loaded, int], None]) -> list[str]:
    """The rows of a kind of task."""
    settings = [load(folders[:number]) for number in NUMBERS]
    found = measure(settings, answer)
    first = found[0]
    return [
        f"| {kind} | {number} | {one.seconds:.1f} | {one.nbytes / 2**20:.0f} | {row * 1e3:.0f} |"
        f" {row / first[0]:.2f} | {ROWS / every:.0f} | {first[1] / every:.2f} |"
        for number, one, (row, every) in zip(NUMBERS, settings, found, strict=True)
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder to be made")
    work: Path = parser.parse_args().work.resolve()
    torch.set_num_threads(1)
    prepare(work)
    print(
        "| answers | exports | loading s | MiB | a row, ms | ratio | rows a second | ratio |\n|"
        + " --- |" * 8
    )
    kinds = (("classes", "classification", classify), ("texts", "text", write))
    for name, kind, answer in kinds:
        print(*table(name, make_exports(work, kind), answer), sep="\n", flush=True)


if __name__ == "__main__":
    main()
