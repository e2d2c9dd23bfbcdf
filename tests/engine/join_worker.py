"""One rank that joins the others, says what it finds, and ends as it is told.

Argument: how it ends. Prints `SUM VALUE`, of all ranks together.
"""

from __future__ import annotations

import os
import signal
import sys

import deepspeed
import torch

from ptv2_scale.engine.join import start, stop


def main(end: str) -> None:
    ranks = start(1)
    own = torch.full((1 << 16,), float(ranks.rank + 1))
    deepspeed.comm.all_reduce(own)
    print("SUM", float(own.sum()) / own.numel(), flush=True)
    deepspeed.comm.barrier()
    if end == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    stop()


if __name__ == "__main__":
    main(sys.argv[1])
