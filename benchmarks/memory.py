"""Peak memory of training with and without gradient checkpointing, and bytes of a checkpoint.

A Llama-class model with random weights (8 layers of width 1024) is made in WORK, and a recipe with
a prefix of 100 tokens trains it for two steps, in a process of its own each time:

    .venv/bin/python benchmarks/memory.py WORK

Prints a Markdown table. The peak is `peak_memory_bytes` of result.json, nothing taken off: resident
memory of the whole process on a CPU, PyTorch and DeepSpeed included. An import of both alone is
printed below the table, to compare.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

WORDS = tuple(f"w{number}" for number in range(1000))
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
ROWS, TOKENS, PREFIX, STEPS = 4, 128, 100, 2


def llama_config(width: int, layers: int, heads: int) -> Any:
    """Configuration of a Llama-class model of these sizes."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def save_backbone(folder: Path) -> None:
    """Save a random Llama-class model, 8 layers of width 1024."""
    import torch
    from transformers import LlamaModel

    torch.manual_seed(7)
    LlamaModel(llama_config(1024, 8, 16)).save_pretrained(folder)


def save_tokenizer(folder: Path) -> None:
    """Save a tokenizer of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


def write_data(folder: Path) -> None:
    """Write rows of exactly `TOKENS` words, with either of two labels."""
    source = random.Random(5)
    folder.mkdir(parents=True)
    rows = [
        {"text": " ".join(source.choices(WORDS, k=TOKENS)), "label": ("no", "yes")[number % 2]}
        for number in range(ROWS * STEPS)
    ]
    for name, some in (("train", rows), ("validation", rows[:ROWS])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in some))


def write_recipe(work: Path) -> Path:
    """Write the recipe that all runs share."""
    recipe: dict[str, Any] = {
        "backbone": {"name": str(work / "backbone")},
        "prompt": {"length": PREFIX},
        "task": {
            "name": "classification", "path": str(work / "data"), "text": "text",
            "label": "label", "train": "train.jsonl", "validation": "validation.jsonl",
            "max_length": TOKENS,
        },
        "train": {"steps": STEPS, "global_batch": ROWS, "micro_batch": ROWS},
        "evaluate": {"micro_batch": ROWS},
        "deepspeed": "zero3",
    }  # fmt: skip
    path = work / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def prepare(work: Path) -> Path:
    """Make backbone, tokenizer, data and recipe in a new folder."""
    write_data(work / "data")
    save_backbone(work / "backbone")
    save_tokenizer(work / "backbone")
    return write_recipe(work)


def train(recipe: Path, dtype: str, stage: str, checkpointing: bool) -> tuple[Path, dict[str, Any]]:
    """Train in a process of its own; the run directory and its result."""
    run = recipe.parent / f"{dtype}-{stage}-{'with' if checkpointing else 'without'}"
    command = [sys.executable, "-m", "ptv2_scale", "train", str(recipe), f"run={run}"]
    overrides = (
        f"backbone.dtype={dtype}",
        f"deepspeed={stage}",
        f"train.gradient_checkpointing={str(checkpointing).lower()}",
    )
    subprocess.run([*command, *overrides], check=True, stdout=sys.stderr)
    return run, json.loads((run / "result.json").read_text())


def checkpoint_bytes(run: Path) -> int:
    """Size of the last checkpoint of a run, every file of it."""
    newest = max((run / "checkpoints").glob("step-*"))
    return sum(path.stat().st_size for path in newest.rglob("*") if path.is_file())


def table_row(recipe: Path, dtype: str, stage: str, checkpointing: bool) -> str:
    """Train once; one row of the table."""
    run, result = train(recipe, dtype, stage, checkpointing)
    trained, size = result["trained_parameters"], checkpoint_bytes(run)
    cells = (
        dtype,
        stage,
        "with" if checkpointing else "without",
        round(result["peak_memory_bytes"] / 2**20),
        f"{size:,}",
        f"{trained:,}",
        f"{size / trained:.2f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def import_memory() -> int:
    """Peak resident bytes of a process that imports the libraries and does nothing."""
    code = (
        "import resource, sys, deepspeed, torch, ptv2_scale.engine.run\n"
        "sys.stderr.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(done.stderr.split()[-1].rpartition("]")[2])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder to be made")
    recipe = prepare(parser.parse_args().work)
    headings = "dtype, stage, checkpointing, peak MiB, checkpoint bytes, trained parameters, ratio"
    print(f"| {headings.replace(', ', ' | ')} |\n|{' --- |' * 7}")
    for dtype in ("fp32", "bf16"):
        for checkpointing in (False, True):
            print(table_row(recipe, dtype, "zero3", checkpointing), flush=True)
    print(f"\nImports alone: {round(import_memory() / 2**20)} MiB.")


if __name__ == "__main__":
    main()
