"""One rank: bytes that it and its host put on the wire in a step, by torch.distributed's calls.

Arguments: recipes, run one after another. Ranks of one simulated host follow each other. The first
rank prints a line of JSON for each recipe: what each call moves by a ring, inside and across hosts.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed
from torch import Tensor

PER_HOST = int(os.environ["LOCAL_WORLD_SIZE"])
SENT: list[tuple[str, int, int, bool]] = []  # call, bytes of the whole, ranks, over several hosts


def counted(name: str, whole: str, times: int) -> Callable[..., Any]:
    """A collective that notes the bytes of the argument that is whole; all-reduce passes twice."""
    original = getattr(torch.distributed, name)
    signature = inspect.signature(original)

    def call(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        tensor: Tensor = given[whole]
        group = given.get("group") or torch.distributed.group.WORLD
        members = torch.distributed.get_process_group_ranks(group)
        several = len({rank // PER_HOST for rank in members}) > 1
        size = times * tensor.numel() * tensor.element_size()
        SENT.append((name, size, len(members), several))
        return original(*args, **kwargs)

    return call


# Before DeepSpeed, which keeps these functions as it is imported.
CALLS = {
    "all_gather_into_tensor": ("output_tensor", 1),
    "reduce_scatter_tensor": ("input", 1),
    "all_reduce": ("tensor", 2),
}
for call_name, call_how in CALLS.items():
    setattr(torch.distributed, call_name, counted(call_name, *call_how))


def by_ring() -> dict[str, float]:
    """What a ring moves of all that was noted: from a rank inside, and from a host to others."""
    moved = [(size * (ranks - 1) / ranks, several) for _, size, ranks, several in SENT]
    return {
        "inside": sum(size for size, _ in moved),
        "across": sum(size for size, several in moved if several),
    }


def main(recipes: list[Path]) -> None:
    from ptv2_scale.config import load_recipe
    from ptv2_scale.engine.build import build_engine, release_engine
    from ptv2_scale.engine.join import start, stop
    from ptv2_scale.engine.trainer import Trainer
    from ptv2_scale.model.setup import open_setup

    ranks = start(1)
    for recipe in recipes:
        setup = open_setup(load_recipe(recipe))
        examples = setup.split("train").examples
        engine = build_engine(setup, ranks)
        trainer = Trainer(engine, setup.task, examples, setup.config.train, setup.padding, ranks)
        for number in range(3):
            SENT.clear()  # the last step counts, once the order of modules is known
            trainer.step(number, False)
        if ranks.first:
            print("FOUND", json.dumps(by_ring()), flush=True)
        release_engine(engine)
    stop()


if __name__ == "__main__":
    main([Path(one) for one in sys.argv[1:]])
