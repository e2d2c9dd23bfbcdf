"""The hosts that a command is for: those of a hostfile, of a Slurm allocation, or this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ptv2_scale.errors import UserError
from ptv2_scale.launchers.environment import host_name
from ptv2_scale.launchers.hostfile import read_hostfile
from ptv2_scale.launchers.nodelist import expand
from ptv2_scale.launchers.remote import Here, Remote, Srun, Ssh
from ptv2_scale.launchers.variables import Variables, travelling


@dataclass(frozen=True)
class Hosts:
    """The hosts of a run.

    Attributes:
        remote: how they are reached.
        names: of them.
        variables: for their environment.
    """

    remote: Remote
    names: tuple[str, ...]
    variables: Variables


def hosts_of(hostfile: Path | None, ssh: Ssh, slurm: bool, environ: Mapping[str, str]) -> Hosts:
    """The hosts of a hostfile, or of the Slurm allocation around this process, or this one.

    Raises:
        UserError: a file cannot be read, or there is no allocation.
    """
    if hostfile is None and not slurm:
        return Hosts(Here(), (host_name(),), Variables({}))
    variables = travelling(environ, Path.home(), Path.cwd())
    if hostfile is not None:
        return Hosts(ssh, tuple(host.name for host in read_hostfile(hostfile)), variables)
    if "SLURM_JOB_NODELIST" not in environ:
        raise UserError(
            "--slurm: not inside an allocation. Get one with salloc, or, where hosts share HF_HOME,"
            " leave --slurm out."
        )
    return Hosts(Srun(), tuple(expand(environ["SLURM_JOB_NODELIST"])), variables)
