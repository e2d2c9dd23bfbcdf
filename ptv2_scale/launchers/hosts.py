"""The hosts that a command is for: those of a hostfile, of a Slurm allocation, or this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ptv2_scale.launchers.forwarded_env import Variables, forwarded_env
from ptv2_scale.launchers.hostfile import read_hostfile
from ptv2_scale.launchers.rank_group import joined_place
from ptv2_scale.launchers.remote import LocalHost, Remote, Srun, Ssh
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.launch_context import host_name
from ptv2_scale.runtime.nodelist import expand
from ptv2_scale.runtime.rank_env import slurm_port


@dataclass(frozen=True)
class Hosts:
    """The hosts of a run.

    Attributes:
        remote: how they are reached.
        slots: ranks of each, by name; the first rank's host comes first.
        variables: for their environment.
        master: address of the first one, or ADDRESS:PORT where it is known at which ranks meet.
    """

    remote: Remote
    slots: Mapping[str, int]
    variables: Variables
    master: str

    @property
    def names(self) -> tuple[str, ...]:
        """Of the hosts."""
        return tuple(self.slots)


def hosts_of(
    hostfile: Path | None, ssh: Ssh, slurm: int | None, environ: Mapping[str, str]
) -> Hosts:
    """The hosts of a hostfile, or of the Slurm allocation around this process, or this one.

    Args:
        hostfile: NAME slots=N a line; None: there is none.
        ssh: for the hosts of a hostfile.
        slurm: ranks of a node of the allocation; None: it is not asked for.
        environ: of this process.

    Raises:
        UserError: a file cannot be read, or there is no allocation.
    """
    if hostfile is None and slurm is None:
        return Hosts(LocalHost(), {host_name(): 1}, Variables({}), "127.0.0.1")
    variables = forwarded_env(environ, Path.home(), Path.cwd())
    if hostfile is not None:
        slots = {one.name: one.slots for one in read_hostfile(hostfile)}
        return Hosts(ssh, slots, variables, next(iter(slots)))
    if "SLURM_JOB_NODELIST" not in environ:
        raise UserError("--slurm: not inside an allocation. Get one with salloc, or leave it out.")
    slots = dict.fromkeys(expand(environ["SLURM_JOB_NODELIST"]), slurm or 1)
    master = environ.get("MASTER_ADDR") or next(iter(slots))
    return Hosts(Srun(), slots, variables, joined_place(master, slurm_port(environ)))


def ssh_of(config: Path | None, hostfile: Path | None) -> Ssh:
    """The ssh that reaches the hosts of a hostfile.

    Args:
        config: configuration file instead of the user's own.
        hostfile: where the hosts are from; None: no host is reached by ssh.

    Raises:
        UserError: there is no such configuration file, or no host is reached by ssh.
    """
    if config is not None and hostfile is None:
        raise UserError("--ssh-config: is for a hostfile's hosts. Add --hostfile, or leave it out.")
    if config is not None and not config.is_file():
        raise UserError(f"--ssh-config {config}: no such file.")
    return Ssh(None if config is None else config.absolute())
