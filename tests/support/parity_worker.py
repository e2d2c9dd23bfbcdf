"""One rank: gradients of a prompted model under ZeRO-3, against plain torch in this process.

Arguments: folder of tiny backbones, dtype, sections `prompt` of recipes as JSON.
Prints a line `DIFFERENCE KIND METHOD PARAMETER VALUE` on rank 0.
"""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import torch
from deepspeed.utils import safe_get_full_grad
from fake_setup import fake_setup
from tiny import batch_of

from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine.build import build_engine
from ptv2_scale.engine.join import start, stop
from ptv2_scale.model.setup import Setup, build_model, first_values, model_filler

ROWS = 4


def batch() -> dict[str, torch.Tensor]:
    made = batch_of("right")
    return {key: torch.cat((value, value.flip(1)[:1])) for key, value in made.items()} | {
        "attention_mask": torch.cat((made["attention_mask"], made["attention_mask"][:1]))
    }


def loss_of(run: Any, rows: slice) -> torch.Tensor:
    logits = run(**{key: value[rows] for key, value in batch().items()}).logits.float()
    weights = torch.linspace(-1, 1, ROWS * 3).view(ROWS, 3)[rows]
    return (logits * weights).sum()


def plain_gradients(setup: Setup) -> dict[str, torch.Tensor]:
    """The same model and batch, whole, in fp32, without DeepSpeed or checkpointing."""
    section = setup.config.backbone.model_copy(update={"dtype": "fp32"})
    config = setup.config.model_copy(update={"backbone": section})
    whole = Setup(config, setup.files, None, setup.task, setup.method)
    model = build_model(whole)
    materialise(model, model_filler(whole, model, NamedTensors(first_values(whole))), Unsharded())
    model.train()
    loss_of(model, slice(None)).backward()
    return {name: p.grad for name, p in model.trained().items() if p.grad is not None}


def sharded_gradients(setup: Setup, ranks: RankContext) -> dict[str, torch.Tensor]:
    engine = build_engine(setup, ranks)
    engine.train()
    share = ROWS // ranks.world
    loss = loss_of(engine, slice(ranks.rank * share, (ranks.rank + 1) * share))
    # DeepSpeed averages over ranks and micro-steps; all examples are in this one.
    engine.backward(loss * ranks.world * engine.gradient_accumulation_steps())
    found = {name: safe_get_full_grad(p) for name, p in engine.module.trained().items()}
    # A pooler that the head does not read has no gradient in plain PyTorch; here it is zero.
    return {name: value.float() for name, value in found.items() if value is not None}


def main(folder: Path, dtype: str, sections: list[dict[str, Any]]) -> None:
    ranks = start(1)
    for backbone, section in product(sorted(folder.iterdir()), sections):
        setup = fake_setup(backbone, dtype, prompt=section)
        expected = plain_gradients(setup)
        found = sharded_gradients(setup, ranks)
        largest = max(float(gradient.abs().max()) for gradient in expected.values())
        for name, gradient in expected.items():
            # Biases of keys have none but rounding: the softmax does not see them.
            scale = max(float(gradient.abs().max()), 1e-2 * largest)
            difference = (found[name] - gradient).abs().max() / scale
            if ranks.first:
                method = setup.config.prompt.method
                print("DIFFERENCE", backbone.name, method, name, float(difference), flush=True)
    stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
