"""One rank: gradients under ZeRO-3 on a backbone in 8 bits, against plain torch on rounded weights.

Arguments: folder with pairs of tiny backbones, KIND and KIND-rounded, and a dtype.
Prints a line `DIFFERENCE KIND CHECKPOINTING PARAMETER VALUE` on rank 0.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from fake_setup import fake_setup
from parity_worker import plain_gradients, sharded_gradients

from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine.join import start, stop
from ptv2_scale.model.setup import Setup


def setup_of(folder: Path, dtype: str, checkpointing: bool, quantization: str | None) -> Setup:
    backbone: dict[str, Any] = {"name": str(folder), "dtype": dtype, "dropout": 0.0}
    return fake_setup(
        folder,
        backbone={**backbone, "quantization": quantization},
        prompt={"init_scale": 0.5 if dtype == "fp32" else 0.02},
        train={"gradient_checkpointing": checkpointing},
    )


def compare(folder: Path, dtype: str, checkpointing: bool, ranks: RankContext) -> None:
    rounded = folder.with_name(f"{folder.name}-rounded")
    expected = plain_gradients(setup_of(rounded, dtype, checkpointing, None))
    found = sharded_gradients(setup_of(folder, dtype, checkpointing, "int8"), ranks)
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        scale = max(float(gradient.abs().max()), 1e-2 * largest)
        difference = float((found[name] - gradient).abs().max()) / scale
        if ranks.first:
            print("DIFFERENCE", folder.name, checkpointing, name, difference, flush=True)


def main(folder: Path, dtype: str) -> None:
    ranks = start(1)
    for backbone in sorted(folder.glob("*-rounded")):
        for checkpointing in (False, True):
            own = backbone.with_name(backbone.name.removesuffix("-rounded"))
            compare(own, dtype, checkpointing, ranks)
    stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
