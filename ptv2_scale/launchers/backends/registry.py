"""All backends by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from ptv2_scale.launchers.backends.accelerate import Accelerate
from ptv2_scale.launchers.backends.base import HostBackend, RankBackend
from ptv2_scale.launchers.backends.deepspeed import DeepSpeed
from ptv2_scale.launchers.backends.local import LocalHosts
from ptv2_scale.launchers.backends.pdsh import PdshHosts, is_installed
from ptv2_scale.launchers.backends.slurm import SlurmHosts
from ptv2_scale.launchers.backends.ssh import SshHosts
from ptv2_scale.launchers.backends.torchrun import Torchrun
from ptv2_scale.launchers.options import LaunchOptions
from ptv2_scale.runtime.errors import UserError, did_you_mean

T = TypeVar("T")

_ALL: tuple[HostBackend | RankBackend, ...] = (
    *(LocalHosts(), PdshHosts(), SshHosts(), SlurmHosts()),
    *(DeepSpeed(), Torchrun(), Accelerate()),
)
BACKENDS: Mapping[str, HostBackend | RankBackend] = {one.name: one for one in _ALL}


def rank_backends() -> dict[str, RankBackend]:
    """The launchers of a host's ranks."""
    return {name: one for name, one in BACKENDS.items() if isinstance(one, RankBackend)}


def transports() -> dict[str, HostBackend]:
    """The backends that serve the hosts of a hostfile."""
    return {
        name: one
        for name, one in BACKENDS.items()
        if isinstance(one, HostBackend) and one.over_hostfile
    }


def rank_backend(name: str) -> RankBackend:
    """A launcher of a host's ranks.

    Raises:
        UserError: there is none of that name.
    """
    return _find("--backend", name, rank_backends())


def host_backend(options: LaunchOptions) -> HostBackend:
    """The way to the hosts of a launch.

    Raises:
        UserError: `transport` names none.
    """
    if options.hostfile is None:
        found = BACKENDS["slurm" if options.slurm else "local"]
        assert isinstance(found, HostBackend)
        return found
    default = "pdsh" if is_installed() else "ssh"
    return _find("--transport", options.transport or default, transports())


def _find(option: str, name: str, known: Mapping[str, T]) -> T:
    if name not in known:
        raise UserError(
            f"{option} {name}: not known.{did_you_mean(name, known)} Allowed: {', '.join(known)}."
        )
    return known[name]
