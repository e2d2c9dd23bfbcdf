"""Ranks on this host, started by DeepSpeed's own launcher."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence


def render(train: Sequence[str], ranks: int | None, port: int) -> list[str]:
    """The command that starts the ranks.

    Args:
        train: arguments of `ptv2-scale`, "train" and what follows.
        ranks: how many; None: as many as there are GPUs.
        port: where they meet.
    """
    count = [] if ranks is None else ["--num_gpus", str(ranks)]
    return [
        *(sys.executable, "-m", "deepspeed.launcher.runner", "--quiet"),
        *count,
        *("--master_port", str(port), "--module", "ptv2_scale"),
        *train,
    ]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
