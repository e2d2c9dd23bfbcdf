"""What benchmarks share that need a large backbone: its files, written piece by piece."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def normal_values(ones: str) -> Callable[[str, int], Any]:
    """Normal values of deviation 0.02, alike for all tensors; ones where a name has this word."""
    import torch

    from ptv2_scale.runtime.pieces import PIECE

    some = torch.randn(PIECE, generator=torch.Generator().manual_seed(7)) * 0.02
    normal, one = some.bfloat16(), torch.ones(PIECE, dtype=torch.bfloat16)
    return lambda name, count: (one if ones in name else normal)[:count]


def write_weights(
    config: Any, folder: Path, shard_bytes: int, values: Callable[[str, int], Any]
) -> None:
    """Write the weights of a model in bf16, without ever having all of them.

    Args:
        config: transformers' configuration of the model.
        folder: where to; it gets no configuration.
        shard_bytes: most bytes of a file.
        values: so many values of a tensor of some name, in bf16.
    """
    import torch
    from transformers import AutoModel

    from ptv2_scale.backbones.empty import empty_parameters
    from ptv2_scale.backbones.matching import shared_parameters
    from ptv2_scale.backbones.safetensors_writer import Entry, shards_of, write_shard

    with empty_parameters():
        model = AutoModel.from_config(config)
    model.tie_weights()  # files of transformers hold what is tied once
    entries = [
        Entry(names[0], torch.bfloat16, tuple(one.shape)) for names, one in shared_parameters(model)
    ]
    shards, table = shards_of(entries, shard_bytes), {}
    for shard in shards:
        table.update({entry.name: shard.file for entry in shard.entries})
        for _ in write_shard(folder, shard, lambda name, start, stop: values(name, stop - start)):
            pass
    if len(shards) > 1:
        index = {"metadata": {}, "weight_map": table}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
