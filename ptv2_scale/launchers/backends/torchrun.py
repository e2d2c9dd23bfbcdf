"""PyTorch's launcher of a host's ranks."""

from __future__ import annotations

import sys

from ptv2_scale.launchers.backends.base import NodeStart, RankBackend, Rendezvous
from ptv2_scale.launchers.rank_group import RankGroup, joined_place
from ptv2_scale.runtime.errors import UserError

# Longer than a checkpoint takes: torchrun kills ranks that have not ended by then.
_SHUTDOWN_S = 300
_SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"  # torchrun's own, and Slurm's warning


class Torchrun(RankBackend):
    """`torchrun`; all hosts have as many ranks."""

    name = "torchrun"
    elastic = True

    def render(self, start: NodeStart) -> list[str]:
        """See `RankBackend`."""
        group = start.group
        slots = equal_slots(group, self.name)
        return [
            *environment(),
            *(sys.executable, "-m", "torch.distributed.run"),
            *(f"--nnodes={len(group.hosts)}", f"--nproc-per-node={slots}", *_place(start)),
            *(f"--max-restarts={start.restarts}", "-m", "ptv2_scale", *group.train),
        ]


def _place(start: NodeStart) -> list[str]:
    if start.rendezvous is not None:
        return _rendezvous_options(start.group, start.rendezvous)
    group = start.group
    return [
        *(f"--node-rank={start.node}", f"--master-addr={group.master}"),
        f"--master-port={group.port}",
    ]


def _rendezvous_options(group: RankGroup, meeting: Rendezvous) -> list[str]:
    own = [] if meeting.address is None else [f"--local-addr={meeting.address}"]
    return [
        *("--rdzv-backend=c10d", f"--rdzv-endpoint={joined_place(group.master, group.port)}"),
        # The port tells this run from others; torchrun cannot tell by itself where all meet when
        # a host has a name that does not stand for its address.
        f"--rdzv-id=ptv2_scale.{group.port}",
        f"--rdzv-conf=is_host={str(meeting.leads).lower()}",
        *own,
    ]


def environment() -> list[str]:
    """Settings of torchrun, in front of a command that starts it."""
    # As options these would be unknown to older versions, and to accelerate.
    return ["env", f"PET_SIGNALS_TO_HANDLE={_SIGNALS}", f"PET_SHUTDOWN_TIMEOUT={_SHUTDOWN_S}"]


def equal_slots(group: RankGroup, backend: str) -> int:
    """Ranks of each host.

    Raises:
        UserError: one host has more ranks than another.
    """
    first = group.hosts[0]
    for host in group.hosts:
        if host.slots != first.slots:
            raise UserError(
                f"--backend {backend}: takes as many ranks on each host; found {first.slots} on"
                f" {first.name} and {host.slots} on {host.name}. Make them equal, or use"
                " --backend deepspeed."
            )
    return first.slots
