"""What backends have in common: `render` tells what would run, and is pure; `run` runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ptv2_scale.config import RunConfig
from ptv2_scale.launchers.events import Control
from ptv2_scale.launchers.forwarded_env import Variables, forwarded_env
from ptv2_scale.launchers.options import LaunchOptions
from ptv2_scale.launchers.rank_group import RankGroup
from ptv2_scale.launchers.result import LaunchResult


@dataclass(frozen=True)
class Rendezvous:
    """How a launcher finds this host's place among several by itself.

    Attributes:
        leads: whether this host is the one where all meet.
        address: address of this host, for the others; None: the launcher finds one.
    """

    leads: bool
    address: str | None


@dataclass(frozen=True)
class NodeStart:
    """The ranks of one host, among all; a backend of ranks takes of it what it needs.

    Attributes:
        group: all ranks.
        node: number of the host, or the word that stands for it; None: as `rendezvous` finds it.
        devices: the accelerators of each host, as CUDA_VISIBLE_DEVICES has them, one a slot;
            None: the first ones.
        restarts: restarts of all ranks by the launcher itself.
        rendezvous: how the host's place is found, where there is no number.
        config: path of the launcher's configuration file, where it reads one.
    """

    group: RankGroup
    node: int | str | None
    devices: tuple[str, ...] | None = None
    restarts: int = 0
    rendezvous: Rendezvous | None = None
    config: Path | None = None


class RankBackend(ABC):
    """A launcher of one host's ranks.

    Attributes:
        name: by which options name it.
        elastic: whether it numbers hosts and restarts ranks by itself.
        over_hostfile: whether it starts without a file of its own on each host.
        picks_devices: whether it sets CUDA_VISIBLE_DEVICES of its ranks.
    """

    name: ClassVar[str]
    elastic: ClassVar[bool] = False
    picks_devices: ClassVar[bool] = False
    over_hostfile: ClassVar[bool] = True

    @abstractmethod
    def render(self, start: NodeStart) -> list[str]:
        """The launcher's argv.

        Raises:
            UserError: it cannot start such ranks.
        """

    def config(self, group: RankGroup) -> str | None:
        """Content of the configuration file that it reads; None: it reads none."""
        return None


@dataclass(frozen=True)
class LaunchRequest:
    """A launch, its recipe read and checked.

    Attributes:
        options: what was asked for.
        config: the recipe with all overrides.
        recipe: file of the recipe.
        run: the run directory.
        ranks: launcher of a host's ranks.
    """

    options: LaunchOptions
    config: RunConfig
    recipe: Path
    run: Path
    ranks: RankBackend


class HostBackend(ABC):
    """A way to bring a launch to its hosts.

    Attributes:
        name: by which the registry has it.
        over_hostfile: whether it serves the hosts of a hostfile.
    """

    name: ClassVar[str]
    over_hostfile: ClassVar[bool] = False

    @abstractmethod
    def render(self, request: LaunchRequest) -> str:
        """What would run, as commands or a batch script; nothing is started.

        Raises:
            UserError: options do not go together, or a file cannot be read.
        """

    @abstractmethod
    def slots(self, request: LaunchRequest) -> tuple[int, ...]:
        """Ranks of each host.

        Raises:
            UserError: see `render`.
        """

    @abstractmethod
    def run(self, request: LaunchRequest, control: Control) -> LaunchResult:
        """Start it, and supervise it to its end where it is not handed over.

        Raises:
            UserError: see `render`.
        """


def variables_for_hosts(environ: Mapping[str, str]) -> Variables:
    """The variables of an environment that ranks on other hosts get."""
    return forwarded_env(environ, Path.home(), Path.cwd()).offline()
