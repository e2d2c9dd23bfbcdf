"""The hosts of a hostfile, each reached by an ssh of its own."""

from __future__ import annotations

import os
from pathlib import Path

from ptv2_scale.launchers.backends.base import (
    LaunchRequest,
    NodeStart,
    RankBackend,
    variables_for_hosts,
)
from ptv2_scale.launchers.backends.supervised import SupervisedBackend
from ptv2_scale.launchers.hostfile import read_hostfile
from ptv2_scale.launchers.hosts import ssh_of
from ptv2_scale.launchers.options import LaunchOptions, refuse
from ptv2_scale.launchers.rank_group import RankGroup, meeting_place
from ptv2_scale.launchers.spec import LaunchSpec
from ptv2_scale.runtime.errors import UserError


class SshHosts(SupervisedBackend):
    """One ssh a host."""

    name = "ssh"
    over_hostfile = True

    def slots(self, request: LaunchRequest) -> tuple[int, ...]:
        """See `HostBackend`."""
        path = _hostfile(request.options, request.ranks)
        return tuple(host.slots for host in read_hostfile(path))

    def spec(self, request: LaunchRequest) -> LaunchSpec:
        """See `SupervisedBackend`."""
        options, ranks = request.options, request.ranks
        path = _hostfile(options, ranks)
        hosts = read_hostfile(path)
        master, port = meeting_place(options.master, hosts[0].name)
        return LaunchSpec(
            group=RankGroup(hosts, master, port, options.train),
            run=request.run,
            folder=Path.cwd(),
            variables=variables_for_hosts(os.environ),
            node_launcher=lambda group, node: ranks.render(NodeStart(group, node)),
            remote=ssh_of(options.ssh_config, path),
        )


def _hostfile(options: LaunchOptions, ranks: RankBackend) -> Path:
    reported = "not with --hostfile, whose lines say it (NAME slots=N)."
    refuse(options, ("nproc", "nodes", "node_rank"), reported)
    if not ranks.over_hostfile:
        raise UserError(
            f"--backend {ranks.name}: not with --hostfile. Give the command on each node"
            " (--nodes N --node-rank I --master HOST:PORT), or leave --backend out."
        )
    assert options.hostfile is not None
    return options.hostfile
