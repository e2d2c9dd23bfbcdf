"""A frozen backbone of ten billion parameters trained on a machine that it does not fit: NVMe.

Classic GLM of GLM-10B's shape (48 layers of width 4096, 9.88 billion random parameters, bf16,
20 GB) is written to WORK piece by piece, and a prefix of 100 tokens is trained with its weights on
the disk of WORK (`zero3_offload_nvme`), by one rank on a CPU, in a process of its own:

    .venv/bin/python benchmarks/ten_billion.py WORK [--layers 48] [--width 4096]

One run of two steps, and one that is killed (-9) once it has saved its first step and resumed, must
end with the same losses, metrics and export. Prints a Markdown table, and writes ten_billion.json
into WORK. WORK needs 45 GB; swap files are gone at the end. Memory of the rank is read 20 times a
second. The floor of a step is the longer of its two parts: bytes of the swap files, read once for
the forward and once for the backward pass, at the rate of direct reads that is measured first; and
operations at the rate of bf16 products of matrices of these sizes, measured first too.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from memory import WORDS, save_tokenizer
from random_weights import normal_values, write_weights

VOCABULARY, HEAD_WIDTH, PREFIX, THREADS = 50304, 64, 100, 2
SHARD_BYTES, SAMPLE_S, BLOCK = 2 * 10**9, 0.05, 1 << 24
GIB = 2**30


def make_backbone(folder: Path, layers: int, width: int) -> None:
    """Write a classic GLM of random weights, piece by piece, and a tokenizer of words."""
    import torch

    from ptv2_scale.backbones.glm_classic import ClassicGlmConfig

    config = ClassicGlmConfig(
        num_layers=layers, hidden_size=width, num_attention_heads=width // HEAD_WIDTH,
        vocab_size=VOCABULARY, max_sequence_length=1024, dtype=torch.bfloat16,
        architectures=["ClassicGlmModel"],
    )  # fmt: skip
    folder.mkdir(parents=True)
    write_weights(config, folder, SHARD_BYTES, normal_values("layernorm.weight"))
    save_tokenizer(folder)
    config.save_pretrained(folder)


def make_task(folder: Path) -> None:
    """Texts of 16 to 32 words with one of two labels."""
    source = random.Random(3)
    folder.mkdir(parents=True)
    for name, count in (("train", 4), ("validation", 2)):
        rows = [
            {"text": " ".join(source.choices(WORDS, k=source.randint(16, 32))), "label": label}
            for label in ("no", "yes") * (count // 2)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)


def write_recipe(work: Path) -> Path:
    """The recipe of all runs; YAML reads JSON."""
    recipe = {
        "backbone": {"name": str(work / "backbone"), "dtype": "bf16", "dropout": 0.0},
        "prompt": {"length": PREFIX},
        "task": {
            "name": "classification", "path": str(work / "task"), "text": "text", "label": "label",
            "train": "train.jsonl", "validation": "validation.jsonl", "max_length": 32,
        },
        "train": {
            "steps": 2, "global_batch": 1, "micro_batch": 1, "lr": 5e-3, "cpu_threads": THREADS,
            "gradient_checkpointing": False,
        },
        "evaluate": {"every": 2, "micro_batch": 2},
        "checkpoint": {"every": 1},
        "deepspeed": "zero3_offload_nvme",
    }  # fmt: skip
    path = work / "recipe.yaml"
    path.write_text(json.dumps(recipe, indent=1))
    return path


class Rank:
    """A rank that trains in a process of its own, with what the kernel says of it meanwhile."""

    def __init__(self, recipe: Path, run: Path, *arguments: str) -> None:
        self.run, self.most, self.read = run, {"VmRSS": 0, "RssAnon": 0, "VmLck": 0}, {0: 0}
        self.swap = 0
        env = {
            **os.environ, "DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1",
            "PTV2_SCALE_NVME": str(run.parent / "nvme"),
        }  # fmt: skip
        command = ["-m", "ptv2_scale", "train", str(recipe), f"run={run}", *arguments]
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, *command], env=env, stdout=subprocess.DEVNULL
        )

    def watch(self, until: Callable[[], bool] = lambda: False) -> float:
        """Sample until it ends, or until something holds; returns seconds since it began."""
        while self.process.poll() is None and not until():
            self._sample()
            time.sleep(SAMPLE_S)
        return time.monotonic() - self.began

    def _sample(self) -> None:
        folder = Path(f"/proc/{self.process.pid}")
        try:
            status, io = (folder / "status").read_text(), (folder / "io").read_text()
        except OSError:  # it has just ended
            return
        found = dict(line.split(":", 1) for line in (status + io).splitlines() if ":" in line)
        for key, most in self.most.items():
            self.most[key] = max(most, int(found.get(key, "0").split()[0]) * 1024)
        made = len(steps(self.run))
        if made not in self.read:
            self.read[made] = int(found["read_bytes"])
            files = (self.run.parent / "nvme").rglob("*.swp")
            self.swap = sum(file.stat().st_size for file in files)


def steps(run: Path) -> list[dict[str, Any]]:
    """Records of the steps that a run has made, the last where one was made twice."""
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines]
    return list({one["step"]: one for one in found if one["event"] == "step"}.values())


def direct_rate(folder: Path) -> float:
    """Bytes a second of direct reads of the weights, one block of 16 MiB after the other."""
    paths, done, began = sorted(folder.glob("*.safetensors")), 0, time.monotonic()
    with mmap.mmap(-1, BLOCK) as memory:  # its pages are aligned
        for path in paths[:2]:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECT)
            try:
                offset = 0
                while count := os.preadv(handle, [memory], offset):
                    offset += count
                    if count % mmap.PAGESIZE:  # the end
                        break
                done += offset
            finally:
                os.close(handle)
    return done / (time.monotonic() - began)


def product_rate(width: int, tokens: int) -> float:
    """Operations a second of bf16 products of so many tokens with weights out of memory."""
    import torch

    torch.set_num_threads(THREADS)
    weights = [torch.randn(4 * width, width).bfloat16() for _ in range(4)]
    states = torch.randn(tokens, width).bfloat16()
    with torch.inference_mode():
        for weight in weights:
            torch.nn.functional.linear(states, weight)
        began = time.monotonic()
        for weight in weights * 4:
            torch.nn.functional.linear(states, weight)
    return 16 * 2 * tokens * 4 * width * width / (time.monotonic() - began)


def measure(work: Path, layers: int, width: int) -> dict[str, Any]:
    """All runs, one after the other."""
    recipe, found = write_recipe(work), {"layers": layers, "width": width}
    for name in ("whole", "killed", "nvme"):
        shutil.rmtree(work / name, ignore_errors=True)
    (work / "nvme").mkdir()
    found["disk"] = direct_rate(work / "backbone")
    whole = Rank(recipe, work / "whole")
    found["seconds"] = whole.watch()
    must_succeed(whole)
    made = steps(whole.run)
    tokens = max(one["tokens"] for one in made)
    found |= {"steps": made, "memory": whole.most, "swap": whole.swap, "tokens": tokens}
    found["read"] = whole.read.get(2, 0) - whole.read.get(1, 0)
    found["first_step_ends"] = made[0]["wall_seconds"]
    found["checkpoint"] = size(whole.run / "checkpoints" / "step-00000001")
    found["parameters"] = parameters(work / "backbone")
    found["products"] = product_rate(width, tokens)
    found["operations"] = 4 * tokens * 12 * layers * width**2
    killed = Rank(recipe, work / "killed")
    killed.watch((work / "killed" / "checkpoints" / "step-00000001").is_dir)
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    found["steps_before_kill"] = len(steps(killed.run))
    resumed = Rank(recipe, work / "killed", "--resume", "auto")
    found["resumed_seconds"] = resumed.watch()
    must_succeed(resumed)
    found["memory_resumed"] = resumed.most
    found["same"] = outcome(whole.run) == outcome(resumed.run)
    found["left"] = sum(1 for _ in (work / "nvme").rglob("*.swp"))
    return found


def must_succeed(rank: Rank) -> None:
    """End where a run has failed."""
    if rank.process.wait():
        raise SystemExit(f"{rank.run}: the run ended with {rank.process.returncode}")


def outcome(run: Path) -> tuple[Any, ...]:
    """What two equal runs have alike: losses, metrics, and the bytes of the export."""
    result = json.loads((run / "result.json").read_text())
    losses = [one["loss"] for one in steps(run)]
    weights = (run / "export" / "prompt.safetensors").read_bytes()
    return losses, result["metrics"], result["validation_loss"], weights


def size(folder: Path) -> int:
    """Bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def parameters(folder: Path) -> int:
    """Elements of all bf16 weights, from the sizes of their files."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) // 2


def table(found: dict[str, Any]) -> Iterator[str]:
    """Rows of the table."""
    read, compute = 2 * found["swap"] / found["disk"], found["operations"] / found["products"]
    last = found["steps"][-1]["seconds"]
    most = {key: max(found["memory"][key], found["memory_resumed"][key]) for key in found["memory"]}
    yield "| | |"
    yield "| --- | --- |"
    yield f"| parameters | {found['parameters'] / 1e9:.2f} x 10^9 |"
    yield f"| swap files | {found['swap'] / 1e9:.2f} GB |"
    yield f"| resident memory at most | {most['VmRSS'] / GIB:.2f} GiB |"
    yield f"| of it anonymous | {most['RssAnon'] / GIB:.2f} GiB |"
    yield f"| of it locked: buffers | {most['VmLck'] / GIB:.2f} GiB |"
    yield f"| until the first step has ended | {found['first_step_ends']:.1f} s |"
    seconds = ", ".join(f"{one['seconds']:.1f}" for one in found["steps"])
    yield f"| steps | {seconds} s |"
    yield f"| direct reads | {found['disk'] / 1e9:.2f} GB/s |"
    yield f"| floor: two reads of the swap files | {read:.1f} s |"
    yield f"| read in the second step | {found['read'] / 1e9:.2f} GB |"
    yield f"| bf16 products at {found['tokens']} tokens | {found['products'] / 1e9:.0f} GFLOP/s |"
    yield f"| floor: operations | {compute:.1f} s |"
    yield f"| second step over its floor | {last / max(read, compute):.2f} |"
    yield f"| checkpoint | {found['checkpoint'] / 1e6:.1f} MB |"
    yield f"| killed after step | {found['steps_before_kill']} |"
    yield f"| resumed: same losses, metrics, export | {'yes' if found['same'] else 'NO'} |"


def main() -> None:
    """Make what is missing, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder to be made, or one that was made by this")
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--width", type=int, default=4096, help="a multiple of 64")
    asked = parser.parse_args()
    work = asked.work.resolve()
    if not (work / "backbone" / "config.json").is_file():
        shutil.rmtree(work / "backbone", ignore_errors=True)
        make_backbone(work / "backbone", asked.layers, asked.width)
    if not (work / "task").is_dir():
        make_task(work / "task")
    found = measure(work, asked.layers, asked.width)
    (work / "ten_billion.json").write_text(json.dumps(found, indent=1))
    print("\n".join(table(found)))
    if not found["same"] or found["left"]:
        raise SystemExit("the resumed run differs, or swap files are left")


if __name__ == "__main__":
    main()
