"""One rank: bytes of its tensors between steps and in the optimizer's, and the peak of steps.

Argument: a recipe. The first rank prints them as JSON.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import torch
from allocator import peak
from torch.profiler import ProfilerActivity, profile

from ptv2_scale.config import load_recipe
from ptv2_scale.engine.build import build_engine
from ptv2_scale.engine.join import start, stop
from ptv2_scale.engine.trainer import Trainer
from ptv2_scale.model.setup import open_setup


def tensors() -> dict[int, int]:
    """Bytes of all storages that Python has tensors of, by address."""
    found = {}
    for one in gc.get_objects():
        # By its type: isinstance would wake up lazy modules of libraries.
        if issubclass(type(one), torch.Tensor) and one.device.type == "cpu":
            for tensor in (one, one.grad) if one.is_leaf else (one,):
                if tensor is not None and tensor.untyped_storage().nbytes():
                    storage = tensor.untyped_storage()
                    found[storage.data_ptr()] = storage.nbytes()
    return found


def main(recipe: Path) -> None:
    ranks = start(1)
    setup = open_setup(load_recipe(recipe))
    examples = setup.split("train").examples
    before = tensors().keys()
    engine = build_engine(setup, ranks)
    trainer = Trainer(engine, setup.task, examples, setup.config.train, setup.padding, ranks)
    within: list[int] = []

    def own() -> int:
        gc.collect()
        return sum(size for place, size in tensors().items() if place not in before)

    step = torch.optim.AdamW.step

    def measured(self: Any, *args: Any, **kwargs: Any) -> Any:
        within.append(own())
        return step(self, *args, **kwargs)

    for number in range(2):
        trainer.step(number, False)
    peaks = []
    for number in range(2, 5):
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            trainer.step(number, False)
        peaks.append(peak(profiler))
    between = own()
    torch.optim.AdamW.step = measured  # type: ignore[method-assign]
    trainer.step(5, False)
    if ranks.first:
        # One step in ten or so still holds the gradients that gloo sent in the one before.
        found = {"between": between, "within": max(within), "peak": min(peaks)}
        print("FOUND", json.dumps(found), flush=True)
    stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
