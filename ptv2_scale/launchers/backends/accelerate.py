"""Hugging Face's launcher of a host's ranks, which starts torchrun."""

from __future__ import annotations

import sys

import yaml

from ptv2_scale.launchers.backends.base import NodeStart, RankBackend
from ptv2_scale.launchers.backends.torchrun import environment, equal_slots
from ptv2_scale.launchers.rank_group import RankGroup

CONFIG_MADE_BY = "# Made by `ptv2-scale launch --backend accelerate`."


class Accelerate(RankBackend):
    """`accelerate launch` with a configuration file, the same on all hosts."""

    name = "accelerate"
    over_hostfile = False

    def render(self, start: NodeStart) -> list[str]:
        """See `RankBackend`."""
        return [
            *environment(),
            *(sys.executable, "-m", "accelerate.commands.launch", f"--config_file={start.config}"),
            *(f"--machine_rank={start.node}", "--module", "ptv2_scale", *start.group.train),
        ]

    def config(self, group: RankGroup) -> str:
        """See `RankBackend`; it starts plain ranks: DeepSpeed is configured by the recipe.

        Raises:
            UserError: one host has more ranks than another.
        """
        hosts = len(group.hosts)
        settings = {
            "compute_environment": "LOCAL_MACHINE",
            "distributed_type": "MULTI_GPU",  # of several ranks, on the CPU too
            "num_machines": hosts,
            "num_processes": hosts * equal_slots(group, self.name),
            "main_process_ip": group.master,
            "main_process_port": group.port,
            "same_network": True,
            "rdzv_backend": "static",
            "mixed_precision": "no",
            "use_cpu": False,
        }
        return f"{CONFIG_MADE_BY}\n{yaml.safe_dump(settings, sort_keys=False)}"
