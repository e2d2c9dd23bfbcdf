"""One rank: every gathered backbone weight against its file, before and after the first step.

And the most memory that was allocated while weights were read, beside that of the shards.

Arguments: folder of a tiny backbone, DeepSpeed configuration, "auto" or the hpZ group's size, and
"int8" or "null".
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import deepspeed
import torch
from allocator import peak
from fake_setup import fake_setup
from parity_worker import batch
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModel

from ptv2_scale.backbones.int8 import int8_layers, quantise
from ptv2_scale.engine import build
from ptv2_scale.engine.join import start, stop


def gathered(engine: Any) -> dict[str, torch.Tensor]:
    """Whole backbone weights, through DeepSpeed's own gathering (hpZ's second copy included)."""
    values = {}
    for name, parameter in engine.module.backbone.named_parameters():
        with deepspeed.zero.GatheredParameters([parameter], enabled=hasattr(parameter, "ds_id")):
            values[name] = parameter.detach().clone()
    return values


def used(engine: Any) -> dict[str, torch.Tensor]:
    """Weights as a forward pass sees them: read by a hook when each module runs."""
    seen: dict[str, torch.Tensor] = {}
    hooks = []
    for name, module in engine.module.backbone.named_modules():
        own = [key for key, _ in module.named_parameters(recurse=False)]

        def hook(module: Any, *_: Any, name: str = name, own: list[str] = own) -> None:
            seen.update({f"{name}.{key}": getattr(module, key).detach().clone() for key in own})

        if own:
            hooks.append(module.register_forward_hook(hook))
    engine.eval()
    with torch.no_grad():
        engine(**{key: value[:2] for key, value in batch().items()})
    for each in hooks:
        each.remove()
    return seen


def same_bytes(one: torch.Tensor, other: torch.Tensor) -> bool:
    """What is kept in 8 bits may look like NaN, which no NaN is equal to."""
    return torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


def step(engine: Any) -> None:
    engine.train()
    logits = engine(**{key: value[:1] for key, value in batch().items()}).logits
    engine.backward(logits.float().square().sum())
    engine.step()


def measured_loading(found: dict[str, int]) -> Any:
    """Loading that notes the peak of the allocator and the bytes that stay."""
    load = build.load_weights

    def loading(module: Any, *arguments: Any) -> None:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            load(module, *arguments)
        found["peak"] = peak(profiler)
        for one in module.parameters():
            held = getattr(one, "ds_tensor", one), getattr(one, "ds_secondary_tensor", None)
            found["held"] += sum(each.nbytes for each in held if each is not None)

    return loading


def main(folder: Path, name: str, hpz: str, quantization: str) -> None:
    ranks = start(1)
    kept = None if quantization == "null" else quantization
    setup = fake_setup(
        folder,
        backbone={"name": str(folder), "dtype": "fp32", "quantization": kept},
        deepspeed=name,
        train={"global_batch": ranks.world, "micro_batch": 1},
    )
    if hpz != "auto":
        build.deepspeed_of = lambda _: {  # type: ignore[assignment]
            "zero_optimization": {
                "stage": 3,
                "zero_hpz_partition_size": int(hpz),
                "stage3_param_persistence_threshold": 10,
            }
        }
    memory = {"peak": 0, "held": 0}
    build.load_weights = measured_loading(memory)
    engine = build.build_engine(setup, ranks)
    expected: dict[str, torch.Tensor] = dict(AutoModel.from_pretrained(folder).named_parameters())
    layers = int8_layers(engine.module.backbone)
    for key in layers:
        expected[key] = quantise(expected[key].detach(), torch.float32)
    found: dict[str, list[str]] = {}
    for moment in ("loaded", "after a forward", "stepped"):
        if moment == "stepped":
            step(engine)
        values = gathered(engine) if moment == "loaded" else used(engine)
        found[moment] = [
            name for name, value in values.items() if not same_bytes(value, expected[name])
        ]
        assert len(values) >= len(expected) - 2, (len(values), len(expected))
    secondary = sum(
        getattr(p, "ds_secondary_tensor", None) is not None
        for p in engine.module.backbone.parameters()
    )
    counts = {"secondary": secondary, "int8": len(layers), **memory}
    print("FOUND", json.dumps({"wrong": found, **counts}), flush=True)
    stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
