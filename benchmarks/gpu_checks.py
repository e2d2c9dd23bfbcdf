"""Whether a prefix is trained rightly on this machine's accelerator; `gpu.py` asks it first.

Gradients are compared with those of float64 on the CPU, written out: for each of PyTorch's
attention kernels that takes the call, in fp32 and bf16, for three families, padded on either side,
with and without activation checkpointing, by each route that serves the family
(`backbone.attention`). Runs are killed and resumed, and compared with the same run on the CPU.
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import yaml
from memory import SPECIAL, WORDS, save_tokenizer

VOCABULARY, WIDTH, HEADS, LENGTH, PREFIX = len(SPECIAL) + len(WORDS), 128, 2, 32, 8
Route = Literal["sdpa", "causal", "flex"]
# Routes of attention behind a prefix that serve a family; flex serves all three, by its own kernel.
ROUTES: dict[str, tuple[Route, ...]] = {
    "llama": ("sdpa", "causal"),
    "bert": ("sdpa",),
    "t5": ("sdpa",),
}
ALLOWED = {"fp32": 1e-4, "bf16": 5e-2}  # of the gradient's norm
LOSSES = 1e-3  # of a loss in fp32, beside the CPU's


@dataclass(frozen=True)
class Check:
    """Something that is right where `found` is at most `allowed`.

    Attributes:
        name: what was compared.
        found: how far it is off; None: the kernel does not take the call.
        allowed: how far it may be off.
        route: of attention, by which it was made.
    """

    name: str
    found: float | None
    allowed: float = 0.0
    route: Route = "sdpa"

    @property
    def passed(self) -> bool:
        """Whether it is right."""
        return self.found is None or self.found <= self.allowed


def configurations() -> dict[str, Any]:
    """Transformers' configurations of small models; the first has fewer heads of keys."""
    from transformers import BertConfig, LlamaConfig, T5Config

    shared = {"vocab_size": VOCABULARY, "pad_token_id": 0, "eos_token_id": 2}
    wide = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": HEADS}
    return {
        "llama": LlamaConfig(
            **shared, **wide, num_key_value_heads=1, intermediate_size=2 * WIDTH, bos_token_id=1
        ),
        "bert": BertConfig(
            **shared, **wide, intermediate_size=2 * WIDTH,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        ),
        "t5": T5Config(
            **shared, d_model=WIDTH, d_kv=WIDTH // HEADS, d_ff=2 * WIDTH, num_layers=2,
            num_heads=HEADS, decoder_start_token_id=0, dropout_rate=0.0,
        ),
    }  # fmt: skip


def make_jobs(work: Path) -> dict[str, Path]:
    """A recipe for each family, with a random backbone and texts of different lengths."""
    import torch
    from transformers import AutoModel

    source, found = random.Random(5), {}
    work.mkdir(parents=True)
    for name, count in (("train", 16), ("validation", 4)):
        rows = [
            {"text": " ".join(source.choices(WORDS, k=source.randint(4, LENGTH))), "label": label}
            for label in ("no", "yes") * (count // 2)
        ]
        (work / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, config in configurations().items():
        torch.manual_seed(7)
        AutoModel.from_config(config).save_pretrained(work / name)
        save_tokenizer(work / name)
        recipe = {
            "backbone": {"name": str(work / name), "dtype": "fp32"},
            "prompt": {"length": PREFIX, "dropout": 0.0},
            "task": {
                "name": "classification", "path": str(work), "text": "text", "label": "label",
                "train": "train.jsonl", "validation": "validation.jsonl", "max_length": LENGTH,
            },
            "train": {"steps": 6, "global_batch": 4, "micro_batch": 2},
            "evaluate": {"every": 3},
            "checkpoint": {"every": 2},
            "deepspeed": "zero1",
        }  # fmt: skip
        found[name] = work / f"{name}.yaml"
        found[name].write_text(yaml.safe_dump(recipe))
    return found


class Gradients:
    """Gradients of what a recipe trains, over one batch.

    Args:
        recipe: of `make_jobs`.
    """

    def __init__(self, recipe: Path) -> None:
        from ptv2_scale.config import load_recipe
        from ptv2_scale.model.setup import open_setup

        self._setup = open_setup(load_recipe(recipe))
        self._batch = self._setup.task.collate(
            self._setup.split("train").examples[:4], self._setup.padding
        )

    def made(
        self,
        device: str,
        dtype: str,
        kernel: Any,
        *,
        route: Route = "sdpa",
        left: bool = False,
        again: bool = False,
    ) -> Any:
        """All of them in one tensor on the CPU, in float64.

        Args:
            device: where they are computed.
            dtype: of the backbone: fp32, bf16 or fp64.
            kernel: one of PyTorch's for attention.
            route: `backbone.attention`.
            left: whether texts are padded on the left.
            again: whether layers are computed again in the backward pass.

        Raises:
            RuntimeError: the kernel does not take the call.
        """
        import torch
        from torch.nn.attention import sdpa_kernel

        from ptv2_scale.backbones.attention import enable_checkpointing
        from ptv2_scale.backbones.load import load_backbone
        from ptv2_scale.model.setup import build_model, first_values

        folder, values = str(self._setup.files.folder), first_values(self._setup)
        backbone = load_backbone(
            folder, dtype="bf16" if dtype == "bf16" else "fp32", attention=route
        )
        model = build_model(self._setup, backbone).train()
        for name in model.trained():
            holder, _, own = name.rpartition(".")
            setattr(model.get_submodule(holder), own, torch.nn.Parameter(values[name]))
        if again:
            enable_checkpointing(model.backbone)
        model = model.to(device)
        model = model.double() if dtype == "fp64" else model
        batch = self._batch.to(torch.device(device))
        inputs = _padded_left(batch.inputs) if left else batch.arguments
        with sdpa_kernel([kernel]):
            self._setup.task.loss_sum(model(**inputs).outputs, batch.targets).backward()
        found = [one.grad for one in model.trained().values() if one.grad is not None]
        return torch.cat([one.detach().double().cpu().flatten() for one in found])


def _padded_left(inputs: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    free = (inputs["attention_mask"] == 0).sum(1).tolist()
    return {
        name: torch.stack([row.roll(places) for row, places in zip(one, free, strict=True)])
        if isinstance(one, torch.Tensor) and one.shape == inputs["attention_mask"].shape
        else one
        for name, one in inputs.items()
    }


def attention_checks(recipes: Mapping[str, Path], device: str) -> Iterator[Check]:
    """Every kernel, dtype, route, family and side of padding, with and without checkpointing."""
    import torch
    from torch.nn.attention import SDPBackend

    kernels = {
        "math": SDPBackend.MATH,
        "flash": SDPBackend.FLASH_ATTENTION,
        "memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
        "cuDNN": SDPBackend.CUDNN_ATTENTION,
    }
    for family, recipe in recipes.items():
        gradients = Gradients(recipe)
        # Encoders read their first place, which padding on the left would take.
        for left in (False, True) if family == "llama" else (False,):
            truth = gradients.made("cpu", "fp64", SDPBackend.MATH, left=left)
            tried: list[tuple[str, Any, Route]] = [
                (f"{route}, {name}", kernel, route)
                for (name, kernel), route in product(kernels.items(), ROUTES[family])
            ]
            tried.append(("flex", SDPBackend.MATH, "flex"))
            for (name, kernel, route), dtype in product(tried, ALLOWED):
                said = f"{family}, padded {'left' if left else 'right'}, {dtype}, {name}"
                if route == "flex" and device == "cpu":
                    yield Check(said, None, route=route)
                    continue
                try:
                    found = gradients.made(device, dtype, kernel, route=route, left=left)
                    again = gradients.made(
                        device, dtype, kernel, route=route, left=left, again=True
                    )
                except Exception as error:
                    refused = isinstance(error, RuntimeError) and "kernel" in str(error)
                    if route == "sdpa" and not refused:
                        raise
                    # FlexAttention has one kernel; what fails keeps its route from being used.
                    off = None if refused and route != "flex" else math.inf
                    yield Check(said, off, ALLOWED[dtype], route)
                    continue
                off = float((found - truth).norm() / truth.norm())
                yield Check(said, off, ALLOWED[dtype], route)
                different = int((found != again).sum())
                yield Check(f"{said}: values that checkpointing changes", different, 0.0, route)
    if device != "cpu":
        torch.cuda.empty_cache()


def routes_shown(checks: Sequence[Check]) -> list[Route]:
    """Routes beside sdpa of which all checks have passed, some of them on this device's kernels."""
    return [
        route
        for route in ROUTES["llama"][1:] + ("flex",)
        if any(one.found is not None for one in checks if one.route == route)
        and all(one.passed for one in checks if one.route == route)
    ]


def run_checks(recipes: Mapping[str, Path], device: str) -> list[Check]:
    """Runs of two families, side by side: killed and resumed, and on the CPU."""
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda name: _run_checks(recipes[name], device), ("bert", "t5")))
    return [check for one in found for check in one]


def _run_checks(recipe: Path, device: str) -> list[Check]:
    name, runs = recipe.stem, recipe.parent / "runs"
    whole, killed, here = (runs / f"{name}-{one}" for one in ("whole", "killed", "cpu"))
    ended(started(recipe, whole, device))
    process = started(recipe, killed, device)
    while process.poll() is None and not (killed / "checkpoints" / "step-00000002").is_dir():
        time.sleep(0.002)
    process.kill()
    process.wait()
    before = len(losses(killed))
    ended(started(recipe, killed, device, "--resume", "auto"))
    same = losses(whole) == losses(killed) and _export(whole) == _export(killed)
    checks = [
        Check(f"{name}: killed after step {before} of {len(losses(whole))}, resumed", not same)
    ]
    if device != "cpu":
        ended(started(recipe, here, "cpu"))
        pairs = zip(losses(whole), losses(here), strict=True)
        off = max(abs(one - other) / abs(other) for one, other in pairs)
        checks.append(Check(f"{name}: losses beside the CPU's", off, LOSSES))
    return checks


def started(recipe: Path, run: Path, device: str, *words: str) -> subprocess.Popen[bytes]:
    """A run, begun in a process of its own."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if device == "cpu":
        env |= {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "ptv2_scale", "train", str(recipe), "-q", f"run={run}", *words]
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)


def ended(process: subprocess.Popen[bytes]) -> None:
    """Wait for a run, which must succeed."""
    if process.wait():
        raise SystemExit(f"{process.args!r}: ended with {process.returncode}")


def records(run: Path) -> list[dict[str, Any]]:
    """Records of the steps that a run has made, the last where one was made twice."""
    path = run / "metrics.jsonl"
    lines = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return list({one["step"]: one for one in lines if one["event"] == "step"}.values())


def losses(run: Path) -> list[float]:
    """Loss of each step."""
    return [one["loss"] for one in records(run)]


def _export(run: Path) -> bytes:
    return (run / "export" / "prompt.safetensors").read_bytes()


def all_checks(work: Path, device: str, say: Callable[[str], None]) -> list[Check]:
    """Everything that must be right, in a new folder."""
    recipes, found = make_jobs(work), list[Check]()
    for check in attention_checks(recipes, device):
        found.append(check)
        say(line(check))
    for check in run_checks(recipes, device):
        found.append(check)
        say(line(check))
    return found


def line(check: Check) -> str:
    """What came out."""
    if check.found is None:
        return f"not taken: {check.name}"
    how = "right" if check.passed else "WRONG"
    return f"{how}: {check.name}: {check.found:.2g} (at most {check.allowed:.2g})"
