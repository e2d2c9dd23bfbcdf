"""Launchers of one host's ranks, as argv."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import dataclass

from ptv2_scale.launchers.hostfile import Host


@dataclass(frozen=True)
class Group:
    """All ranks of a start.

    Attributes:
        hosts: with as many ranks as slots; the first one has rank 0.
        master: address of the first one.
        port: at which ranks meet there.
        train: arguments of `ptv2-scale`, "train" and what follows.
    """

    hosts: tuple[Host, ...]
    master: str
    port: int
    train: tuple[str, ...]


def deepspeed(group: Group, node: int | str) -> list[str]:
    """DeepSpeed's own."""
    world = {host.name: list(range(host.slots)) for host in group.hosts}
    info = base64.urlsafe_b64encode(json.dumps(world).encode()).decode()
    return [
        *(sys.executable, "-m", "deepspeed.launcher.launch"),
        *(f"--world_info={info}", f"--node_rank={node}"),
        *(f"--master_addr={group.master}", f"--master_port={group.port}"),
        *("--log_level=critical", "--module", "ptv2_scale", *group.train),
    ]
