"""Training a prefix on one GPU: first whether it is right, then how fast it is, beside PEFT.

    .venv/bin/python benchmarks/gpu.py WORK            # less than 8 minutes are aimed at on an H100
    .venv/bin/python benchmarks/gpu.py WORK --tiny     # shapes for a CPU: tries the script itself

What must be right is in `gpu_checks.py`; where something is not, nothing is timed, or not the route
of attention (`backbone.attention`) that is wrong. Then a Llama of
10B shape (48 layers of width 4096, random, bf16, 20 GB, written to WORK piece by piece) is trained
by `ptv2-scale train` with a prefix of 100 tokens on texts that all have 256 or 512 tokens, with the
largest micro-batch that fits; the longer ones with all layers computed again in the backward pass,
too, and by the other routes.
Tokens a second are those of texts, the median of the steps behind the first three. MFU takes what a
frozen backward pass needs (`estimate/operations.py`), and the peak of NVIDIA's data sheet. Memory
is the most that PyTorch had allocated, beside what `plan` says. PEFT's prefix tuning runs the same
backbone by the same attention kernels in plain PyTorch, with the same micro-batch.

WORK needs 25 GB. Prints a Markdown table and writes WORK/gpu.json.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from gpu_checks import all_checks, ended, records, routes_shown, started
from memory import WORDS, save_tokenizer
from random_weights import normal_values, write_weights

PREFIX, WARMUP_STEPS, SHARD_BYTES = 100, 3, 2 * 10**9


@dataclass(frozen=True)
class Size:
    """What is timed.

    Attributes:
        layers: of the backbone.
        width: of the backbone, a multiple of 128.
        vocabulary: rows of its embedding.
        lengths: tokens of texts.
        steps: optimizer steps of a run.
        global_batch: texts of a step.
    """

    layers: int
    width: int
    vocabulary: int
    lengths: tuple[int, ...]
    steps: int
    global_batch: int


LARGE = Size(48, 4096, 50304, (256, 512), 8, 32)
TINY = Size(2, 128, 2048, (16,), 5, 4)


def make_backbone(folder: Path, size: Size) -> None:
    """Write a Llama of random weights, and a tokenizer of words."""
    import torch
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=size.vocabulary, hidden_size=size.width, num_hidden_layers=size.layers,
        intermediate_size=size.width * 171 // 64, num_attention_heads=size.width // 128,
        max_position_embeddings=2048, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        dtype=torch.bfloat16, architectures=["LlamaModel"],
    )  # fmt: skip
    folder.mkdir(parents=True)
    write_weights(config, folder, SHARD_BYTES, normal_values("norm"))
    save_tokenizer(folder)
    config.save_pretrained(folder)


def write_recipe(work: Path, size: Size, length: int) -> Path:
    """Texts of one length, and the recipe that is trained on them; YAML reads JSON."""
    source, data = random.Random(3), work / f"texts-{length}"
    data.mkdir(exist_ok=True)
    for name, count in (("train", size.steps * size.global_batch), ("validation", 2)):
        rows = [
            {"text": " ".join(source.choices(WORDS, k=length)), "label": ("no", "yes")[number % 2]}
            for number in range(count)
        ]
        (data / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "backbone": {"name": str(work / "backbone"), "attention": "sdpa"},
        "prompt": {"length": PREFIX},
        "task": {
            "name": "classification", "path": str(data), "text": "text", "label": "label",
            "train": "train.jsonl", "validation": "validation.jsonl", "max_length": length,
        },
        "train": {
            "steps": size.steps, "global_batch": size.global_batch, "micro_batch": "auto",
            "gradient_checkpointing": False,
        },
        "evaluate": {"every": size.steps, "micro_batch": 2},
    }  # fmt: skip
    path = work / f"texts-{length}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def time_ours(recipe: Path, run: Path, device: str, *words: str) -> dict[str, Any]:
    """Train once, without checkpointing, by sdpa, and otherwise as words of key=value say."""
    from ptv2_scale.config.locate import load_run
    from ptv2_scale.estimate.fitting import estimate
    from ptv2_scale.estimate.operations import count_operations
    from ptv2_scale.estimate.zero import Cluster
    from ptv2_scale.model.setup import open_shapes

    ended(started(recipe, run, device, *words))
    steps = records(run)[WARMUP_STEPS:]
    setup = open_shapes(load_run(str(run / "recipe.yaml"), [])[0])
    train, operations = setup.config.train, count_operations(setup)
    seconds = median(one["seconds"] for one in steps)
    micro_steps = train.global_batch // train.examples
    return {
        "micro_batch": train.examples,
        "dtype": setup.config.backbone.dtype,
        "seconds": seconds,
        "tokens_a_second": steps[-1]["tokens"] / seconds,
        "operations_a_second": micro_steps * operations.needed / seconds,
        "memory": json.loads((run / "result.json").read_text())["peak_memory_bytes"],
        "planned": estimate(setup, Cluster(1, 1), "cpu" if device == "cpu" else "cuda").total,
    }


def time_peft(work: Path, micro_batch: int, length: int, device: str) -> dict[str, Any]:
    """PEFT's prefix tuning, in a process of its own; without checkpointing, which it refuses."""
    command = [sys.executable, __file__, str(work), "--peft", str(micro_batch), str(length), device]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        return {"failed": process.returncode}
    found: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return found


def peft(work: Path, micro_batch: int, length: int, device: str) -> dict[str, Any]:
    """Micro-batches of PEFT, each with its optimizer step."""
    import torch
    from peft import PrefixTuningConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    model = AutoModelForSequenceClassification.from_pretrained(
        work / "backbone", num_labels=2, dtype=dtype
    ).to(device)
    config = PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=PREFIX)
    model = get_peft_model(model, config).train()
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad])
    ids = torch.randint(3, len(WORDS), (micro_batch, length), device=device)
    mask, labels = torch.ones_like(ids), ids[:, 0] % 2
    seconds = []
    for _ in range(WARMUP_STEPS + 5):
        began = time.perf_counter()
        model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    memory = 0 if device == "cpu" else torch.cuda.max_memory_allocated()
    rate = micro_batch * length / median(seconds[WARMUP_STEPS:])
    return {"tokens_a_second": rate, "memory": memory}


def peak(device: str, dtype: str) -> float | None:
    """Operations a second of this GPU by its data sheet; None: it is not known."""
    import torch

    from ptv2_scale.estimate.step_time import GPUS

    name = "" if device == "cpu" else torch.cuda.get_device_name()
    found = next((gpu for key, gpu in GPUS.items() if key in name), None)
    return None if found is None else found.bf16 if dtype == "bf16" else found.fp32


def time_all(
    work: Path, size: Size, device: str, routes: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Every length and PEFT beside it; of the longest, checkpointing and other routes, too."""
    if not (work / "backbone" / "config.json").is_file():
        make_backbone(work / "backbone", size)
    recipes = {length: write_recipe(work, size, length) for length in size.lengths}
    for length in size.lengths:
        found = time_ours(recipes[length], work / f"run-{length}", device)
        yield {"side": "ptv2_scale", "length": length, **found}
        beside = time_peft(work, found["micro_batch"], length, device)
        micro_batch = {"micro_batch": found["micro_batch"]}
        yield {"side": "PEFT", "length": length, **micro_batch, **beside}
    others = {"checkpointing": "train.gradient_checkpointing=true"}
    others |= {route: f"backbone.attention={route}" for route in routes}
    for name, word in others.items():
        found = time_ours(recipes[length], work / f"run-{length}-{name}", device, word)
        yield {"side": f"ptv2_scale, {name}", "length": length, **found}


def table(rows: list[dict[str, Any]], device: str) -> Iterator[str]:
    """Rows of the table; sizes in GB (10^9 bytes)."""
    yield "| side | tokens of a text | micro-batch | tokens a second | MFU | memory | planned |"
    yield "|" + " --- |" * 7
    for one in rows:
        if "failed" in one:
            yield f"| {one['side']} | {one['length']} | {one['micro_batch']} | failed | | | |"
            continue
        most = peak(device, one["dtype"]) if "operations_a_second" in one else None
        used = "" if most is None else f"{one['operations_a_second'] / most:.1%}"
        planned = f"{one['planned'] / 1e9:.2f}" if "planned" in one else ""
        yield (
            f"| {one['side']} | {one['length']} | {one['micro_batch']}"
            f" | {one['tokens_a_second']:,.0f} | {used} | {one['memory'] / 1e9:.2f} | {planned} |"
        )


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Check, time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder to be made")
    parser.add_argument("--tiny", action="store_true", help="shapes for a CPU")
    parser.add_argument("--peft", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peft:
        micro_batch, length, device = asked.peft
        print(json.dumps(peft(asked.work, int(micro_batch), int(length), device)))
        return
    import torch

    device, work = "cuda" if torch.cuda.is_available() else "cpu", asked.work.resolve()
    checks = all_checks(work / "checks", device, say)
    if not all(check.passed for check in checks if check.route == "sdpa"):
        raise SystemExit("something is wrong on this device: nothing is timed")
    routes = routes_shown(checks)
    rows = []
    for row in time_all(work, TINY if asked.tiny else LARGE, device, routes):
        say(json.dumps(row))
        rows.append(row)
    found = {"device": device, "checks": [asdict(one) for one in checks], "rows": rows}
    (work / "gpu.json").write_text(json.dumps(found, indent=1))
    taken = [check for check in checks if check.found is not None]
    wrong = sorted({check.route for check in taken if not check.passed})
    print(f"{len(taken)} checks, {len(checks) - len(taken)} calls that kernels did not take")
    print(f"routes of attention that are wrong here: {', '.join(wrong) or 'none'}\n")
    print("\n".join(table(rows, device)))


if __name__ == "__main__":
    main()
