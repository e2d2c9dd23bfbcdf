"""Launchers of one host's ranks, as argv."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from ptv2_scale.launchers.hostfile import Host
from ptv2_scale.runtime.errors import UserError

CONFIG_MADE_BY = "# Made by `ptv2-scale launch --backend accelerate`."

# Longer than a checkpoint takes: torchrun kills ranks that have not ended by then.
_SHUTDOWN_S = 300
_SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"  # torchrun's own, and Slurm's warning


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


@dataclass(frozen=True)
class Rendezvous:
    """How torchrun finds this host's place among several by itself.

    Attributes:
        leads: whether this host is the one where all meet.
        address: of this host, for the others; None: torchrun finds one.
    """

    leads: bool
    address: str | None


def deepspeed(group: Group, node: int | str, devices: tuple[str, ...] | None = None) -> list[str]:
    """DeepSpeed's own.

    Args:
        group: the ranks.
        node: number of the host.
        devices: the accelerators of each host, as CUDA_VISIBLE_DEVICES has them, one a slot: the
            launcher overrides that variable. None: the first ones.
    """
    world = {host.name: list(devices or range(host.slots)) for host in group.hosts}
    info = base64.urlsafe_b64encode(json.dumps(world).encode()).decode()
    return [
        *(sys.executable, "-m", "deepspeed.launcher.launch"),
        *(f"--world_info={info}", f"--node_rank={node}"),
        *(f"--master_addr={group.master}", f"--master_port={group.port}"),
        *("--log_level=critical", "--module", "ptv2_scale", *group.train),
    ]


def torchrun(
    group: Group, node: int | str | None, restarts: int = 0, meeting: Rendezvous | None = None
) -> list[str]:
    """PyTorch's.

    Args:
        group: the ranks; all hosts have as many.
        node: number of the host; None: what `meeting` finds.
        restarts: of all ranks, after a failure.
        meeting: where there is no number.

    Raises:
        UserError: one host has more ranks than another.
    """
    slots = _equal_slots(group, "torchrun")
    place = [f"--node-rank={node}", f"--master-addr={group.master}", f"--master-port={group.port}"]
    if meeting is not None:
        place = _meet(group, meeting)
    return [
        *_environment(),
        *(sys.executable, "-m", "torch.distributed.run"),
        *(f"--nnodes={len(group.hosts)}", f"--nproc-per-node={slots}", *place),
        *(f"--max-restarts={restarts}", "-m", "ptv2_scale", *group.train),
    ]


def _meet(group: Group, meeting: Rendezvous) -> list[str]:
    own = [] if meeting.address is None else [f"--local-addr={meeting.address}"]
    return [
        *("--rdzv-backend=c10d", f"--rdzv-endpoint={group.master}:{group.port}"),
        # The port tells this run from others; torchrun cannot tell by itself where all meet when
        # a host has a name that does not stand for its address.
        *(
            f"--rdzv-id=ptv2_scale.{group.port}",
            f"--rdzv-conf=is_host={str(meeting.leads).lower()}",
        ),
        *own,
    ]


def accelerate(group: Group, node: int | str, config: Path) -> list[str]:
    """Hugging Face's, which starts torchrun.

    Args:
        group: the ranks.
        node: number of the host.
        config: file with what `accelerate_config` gives.
    """
    return [
        *_environment(),
        *(sys.executable, "-m", "accelerate.commands.launch", f"--config_file={config}"),
        *(f"--machine_rank={node}", "--module", "ptv2_scale", *group.train),
    ]


def accelerate_config(group: Group) -> str:
    """Accelerate's configuration, the same on all hosts.

    It starts plain ranks: DeepSpeed is configured by the recipe.

    Raises:
        UserError: one host has more ranks than another.
    """
    hosts = len(group.hosts)
    settings = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "MULTI_GPU",  # of several ranks, on the CPU too
        "num_machines": hosts,
        "num_processes": hosts * _equal_slots(group, "accelerate"),
        "main_process_ip": group.master,
        "main_process_port": group.port,
        "same_network": True,
        "rdzv_backend": "static",
        "mixed_precision": "no",
        "use_cpu": False,
    }
    return f"{CONFIG_MADE_BY}\n{yaml.safe_dump(settings, sort_keys=False)}"


def _environment() -> list[str]:
    # As options these would be unknown to older versions, and to accelerate.
    return ["env", f"PET_SIGNALS_TO_HANDLE={_SIGNALS}", f"PET_SHUTDOWN_TIMEOUT={_SHUTDOWN_S}"]


def _equal_slots(group: Group, backend: str) -> int:
    first = group.hosts[0]
    for host in group.hosts:
        if host.slots != first.slots:
            raise UserError(
                f"--backend {backend}: takes as many ranks on each host; found {first.slots} on"
                f" {first.name} and {host.slots} on {host.name}. Make them equal, or use"
                " --backend deepspeed."
            )
    return first.slots


def shown_devices(environ: Mapping[str, str], slots: int) -> tuple[str, ...] | None:
    """The accelerators that the user has chosen for this host; None: no choice was made.

    Args:
        environ: of the launch.
        slots: ranks of this host.

    Raises:
        UserError: they are too few.
    """
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or environ.get("DS_ACCELERATOR") == "cpu":
        return None
    found = tuple(one.strip() for one in chosen.split(",") if one.strip())
    if not found:
        return ("-1",) * slots  # what CUDA takes for no device
    if len(found) < slots:
        raise UserError(
            f"{slots} ranks on this host, but CUDA_VISIBLE_DEVICES={chosen} shows {len(found)}"
            " devices. Show more, or start fewer ranks with --nproc."
        )
    return found[:slots]
