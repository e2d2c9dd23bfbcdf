"""One rank: logits of a sharded classic GLM against the same backbone whole.

Argument: its folder. Prints `LOGITS ELEMENTS DIFFERENCE`, the elements being those of the word
embeddings that this rank holds as they stand outside a call.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from fake_setup import fake_setup
from parity_worker import batch

from ptv2_scale import load_backbone
from ptv2_scale.engine.build import build_engine
from ptv2_scale.engine.join import start, stop


def main(folder: Path) -> None:
    ranks = start(1)
    backbone = build_engine(fake_setup(folder, deepspeed="zero3"), ranks).module.backbone.eval()
    with torch.no_grad():
        expected = load_backbone(str(folder))(**batch()).logits
        found = backbone(**batch()).logits
    held = backbone.word_embeddings.weight.numel()
    print("LOGITS", held, float((found - expected).abs().max()), flush=True)
    stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
