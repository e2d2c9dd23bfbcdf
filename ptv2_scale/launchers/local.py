"""A launch on this host: all ranks, or those of one node where each is given the same command."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ptv2_scale.launchers import node
from ptv2_scale.launchers.forwarded_env import OFFLINE, Variables
from ptv2_scale.launchers.hostfile import Host
from ptv2_scale.launchers.node import Group, Rendezvous
from ptv2_scale.launchers.remote import Here
from ptv2_scale.launchers.spec import NodeLauncher, Plan
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.interfaces import between_hosts, is_own


@dataclass(frozen=True)
class Share:
    """This host's share in a run.

    Attributes:
        group: all ranks; hosts are called node0, node1, ...
        number: of this host; None: torchrun finds it.
        run: the run directory.
    """

    group: Group
    number: int | None
    run: Path

    @property
    def slots(self) -> int:
        """Ranks of this host, and of every other."""
        return self.group.hosts[0].slots

    @property
    def config(self) -> Path:
        """Accelerate's configuration: beside the run directory, which has to be new at a start."""
        return self.run.with_name(f"{self.run.name}.accelerate.yaml")

    def plan(self, backend: str, restarts: int) -> Plan:
        """What this host is to do.

        Args:
            backend: launcher of its ranks.
            restarts: by that launcher.
        """
        files = {self.config: node.accelerate_config(self.group)} if backend == "accelerate" else {}
        return Plan(
            group=replace(self.group, hosts=(Host(os.uname().nodename, self.slots),)),
            run=self.run,
            folder=Path.cwd(),
            variables=self._variables(),
            node_launcher=self._as_one(self._launcher(backend, restarts)),
            remote=Here(),
            first=None if self.number is None else self.number * self.slots,
            files=files,
        )

    def _variables(self) -> Variables:
        """What this host's ranks have beside the environment that they inherit."""
        if len(self.group.hosts) == 1:
            return Variables({})
        return Variables({key: os.environ.get(key, value) for key, value in OFFLINE.items()})

    def _as_one(self, launcher: Callable[[Group], list[str]]) -> NodeLauncher:
        """The plan knows this host alone; the launcher has to know them all."""
        return lambda group, _: launcher(replace(self.group, train=group.train))

    def _launcher(self, backend: str, restarts: int) -> Callable[[Group], list[str]]:
        number = 0 if self.number is None else self.number
        if backend == "torchrun":
            meeting = _rendezvous(self.group.master) if self.number is None else None
            return partial(node.torchrun, node=number, restarts=restarts, meeting=meeting)
        if backend == "accelerate":
            return partial(node.accelerate, node=number, config=self.config.absolute())
        devices = node.shown_devices(os.environ, self.slots)
        return partial(node.deepspeed, node=number, devices=devices)


def _rendezvous(master: str) -> Rendezvous:
    way = between_hosts(master)
    return Rendezvous(is_own(master), None if way is None else way.address)


def node_number(options: argparse.Namespace) -> int | None:
    """The number of this host; None: torchrun finds it.

    Raises:
        UserError: it is missing, too large, or of no use.
    """
    nodes, number = options.nodes or 1, options.node_rank
    if nodes == 1:
        if number:
            raise UserError(f"--node-rank {number}: on one host; say how many with --nodes.")
        return 0
    if number is None and options.backend != "torchrun":
        raise UserError(
            f"--nodes {nodes}: give the same command on each node, with --node-rank 0 to"
            f" {nodes - 1}; only --backend torchrun finds the number by itself."
        )
    if number is not None and number >= nodes:
        raise UserError(f"--node-rank {number}: found {nodes} nodes, counted from 0.")
    return None if number is None else int(number)
