"""Ranks of this host: all of a run, or those of one node where each is given the same launch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ptv2_scale.launchers.backends.base import LaunchRequest, NodeStart, RankBackend, Rendezvous
from ptv2_scale.launchers.backends.supervised import SupervisedBackend
from ptv2_scale.launchers.devices import count_accelerators, shown_devices
from ptv2_scale.launchers.forwarded_env import OFFLINE, Variables
from ptv2_scale.launchers.hostfile import Host
from ptv2_scale.launchers.options import LaunchOptions, refuse
from ptv2_scale.launchers.rank_group import RankGroup, free_port, meeting_place, split_place
from ptv2_scale.launchers.remote import LocalHost
from ptv2_scale.launchers.spec import LaunchSpec
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.interfaces import between_hosts, is_own


@dataclass(frozen=True)
class LocalHosts(SupervisedBackend):
    """This host alone, or as one of several nodes.

    Attributes:
        devices: counts the accelerators of this host.
    """

    name = "local"

    devices: Callable[[], int] = count_accelerators

    def spec(self, request: LaunchRequest) -> LaunchSpec:
        """See `SupervisedBackend`."""
        options = request.options
        number, nodes = node_number(options, request.ranks), options.nodes or 1
        _check(options, nodes)
        master, port = meeting_place(options.master, f"127.0.0.1:{free_port()}")
        slots = options.nproc or self.devices()
        hosts = tuple(Host(f"node{one}", slots) for one in range(nodes))
        group = RankGroup(hosts, master, port, options.train)
        restarts = options.max_restarts - self.restarts(request)
        return LocalNode(
            group, number, request.run, request.ranks, restarts, _environment(options)
        ).spec()

    def slots(self, request: LaunchRequest) -> tuple[int, ...]:
        """See `HostBackend`."""
        options = request.options
        return (options.nproc or self.devices(),) * (options.nodes or 1)

    def restarts(self, request: LaunchRequest) -> int:
        """See `SupervisedBackend`; none where the launcher of ranks restarts them itself."""
        return 0 if request.ranks.elastic else request.options.max_restarts


@dataclass(frozen=True)
class LocalNode:
    """This host's share in a run.

    Attributes:
        group: all ranks; hosts are called node0, node1, ...
        number: number of this host; None: the launcher of ranks finds it.
        run: the run directory.
        ranks: launcher of this host's ranks.
        restarts: restarts by that launcher.
        environment: of the launch.
    """

    group: RankGroup
    number: int | None
    run: Path
    ranks: RankBackend
    restarts: int = 0
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def slots(self) -> int:
        """Ranks of this host, and of every other."""
        return self.group.hosts[0].slots

    @property
    def config(self) -> Path:
        """The launcher's configuration: beside the run directory, which must be new at a start."""
        return self.run.with_name(f"{self.run.name}.{self.ranks.name}.yaml")

    def spec(self) -> LaunchSpec:
        """What this host runs.

        Raises:
            UserError: the chosen devices are too few.
        """
        content = self.ranks.config(self.group)
        start = self._start()
        return LaunchSpec(
            group=replace(self.group, hosts=(Host(os.uname().nodename, self.slots),)),
            run=self.run,
            folder=Path.cwd(),
            variables=self._variables(),
            # The specification knows this host alone; the launcher has to know them all.
            node_launcher=lambda group, _: self.ranks.render(
                replace(start, group=replace(self.group, train=group.train))
            ),
            remote=LocalHost(),
            first=None if self.number is None else self.number * self.slots,
            files={} if content is None else {self.config: content},
        )

    def _variables(self) -> Variables:
        """What this host's ranks have beside the environment that they inherit."""
        if len(self.group.hosts) == 1:
            return Variables({})
        return Variables({key: os.environ.get(key, value) for key, value in OFFLINE.items()})

    def _start(self) -> NodeStart:
        picks, environment = self.ranks.picks_devices, self.environment
        chosen = shown_devices(environment, self.slots) if picks else None
        return NodeStart(
            group=self.group,
            node=self.number,
            devices=chosen,
            restarts=self.restarts,
            rendezvous=_rendezvous(self.group.master) if self.number is None else None,
            config=self.config.absolute(),
        )


def _rendezvous(master: str) -> Rendezvous:
    way = between_hosts(master)
    return Rendezvous(is_own(master), None if way is None else way.address)


def _environment(options: LaunchOptions) -> Mapping[str, str]:
    if options.devices is None:
        return os.environ
    return {**os.environ, "CUDA_VISIBLE_DEVICES": options.devices}


def _check(options: LaunchOptions, nodes: int) -> None:
    reported = "is for a hostfile's hosts. Add --hostfile, or leave it out."
    refuse(options, ("transport", "ssh_config"), reported)
    if nodes == 1 and options.master is not None:
        raise UserError("--master: ranks of one host meet there. Add --nodes N, or leave it out.")
    if nodes > 1 and (options.master is None or split_place(options.master)[1] is None):
        raise UserError(
            f"--nodes {nodes}: say where they meet, the same on each: --master HOST:PORT, HOST the"
            " first one's name or address ([ADDRESS]:PORT if it is IPv6)."
        )


def node_number(options: LaunchOptions, ranks: RankBackend) -> int | None:
    """The number of this host; None: the launcher of its ranks finds it.

    Raises:
        UserError: it is missing, too large, or of no use.
    """
    nodes, number = options.nodes or 1, options.node_rank
    if nodes == 1:
        if number:
            raise UserError(f"--node-rank {number}: on one host; say how many with --nodes.")
        return 0
    if number is None and not ranks.elastic:
        raise UserError(
            f"--nodes {nodes}: give the same command on each node, with --node-rank 0 to"
            f" {nodes - 1}; only --backend torchrun finds the number by itself."
        )
    if number is not None and number >= nodes:
        raise UserError(f"--node-rank {number}: found {nodes} nodes, counted from 0.")
    return number
