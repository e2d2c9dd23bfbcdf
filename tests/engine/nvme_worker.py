"""One rank: what its swap files hold, and what modules see, against the backbone's file.

Argument: folder of a backbone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from fake_setup import fake_setup
from tiny import batch_of
from transformers import AutoModel

from ptv2_scale.engine.build import build_engine, release_engine
from ptv2_scale.engine.join import start, stop


def swapped(engine: Any) -> dict[str, torch.Tensor]:
    """This rank's slices of weights on NVMe, as plain reads of their files find them."""
    found = {}
    for name, parameter in engine.module.backbone.named_parameters():
        path = parameter.nvme_swapper.id_to_path.get(parameter.ds_id)
        if path is not None:
            values = torch.frombuffer(bytearray(Path(path).read_bytes()), dtype=torch.float32)
            found[name] = values[: parameter.ds_tensor.ds_numel]
    return found


def seen(engine: Any) -> dict[str, torch.Tensor]:
    """Weights of linear modules as they run forward, with a prefix, in training."""
    found: dict[str, torch.Tensor] = {}
    for name, module in engine.module.backbone.named_modules():
        if isinstance(module, torch.nn.Linear):

            def hook(module: Any, *_: Any, name: str = name) -> None:
                found[f"{name}.weight"] = module.weight.detach().clone()

            module.register_forward_hook(hook)
    engine.train()
    batch = {key: value[:1] for key, value in batch_of("right").items()}
    engine.backward(engine(**batch).logits.float().square().sum())
    engine.step()
    return found


def main(folder: Path) -> None:
    ranks = start(1)
    train = {"global_batch": ranks.world, "micro_batch": 1}
    engine = build_engine(fake_setup(folder, deepspeed="zero3_offload_nvme", train=train), ranks)
    expected = dict(AutoModel.from_pretrained(folder).named_parameters())
    wrong, count = [], 0
    for moment in ("loaded", "stepped"):
        files = swapped(engine)
        for name, values in files.items():
            first = values.numel() * ranks.rank
            slice_ = expected[name].flatten()[first : first + values.numel()]
            wrong += [] if torch.equal(slice_, values) else [f"{moment}: {name}"]
        count = len(files)
        if moment == "loaded":
            saw = seen(engine)
            wrong += [name for name in saw if not torch.equal(saw[name], expected[name])]
            assert len(saw) >= count - 1
    memory = [p.ds_tensor.numel() for p in engine.module.backbone.parameters()]
    release_engine(engine)
    print("FOUND", json.dumps({"wrong": wrong, "files": count, "memory": max(memory)}), flush=True)
    stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
