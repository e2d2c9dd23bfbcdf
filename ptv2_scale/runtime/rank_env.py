"""Which rank of a run this process is, from the environment of whatever has started it.

Launchers of torch's kind (torchrun, accelerate, DeepSpeed's), `srun` with several tasks, `mpirun`.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.nodelist import expand

_FIRST_PORT, _PORTS = 20000, 12000  # below those that systems give away by themselves
_COUNT = re.compile(r"([0-9]{1,6})(?:\(x([0-9]{1,6})\))?", re.ASCII)


@dataclass(frozen=True)
class RankEnv:
    """A process's place among the ranks of a run.

    Attributes:
        rank: the rank, from 0 to world - 1.
        world: number of ranks.
        local: the rank within this host, from 0.
        per_host: number of ranks on this host.
        master: the address of the first rank's host.
        port: the TCP port at which ranks meet there.
    """

    rank: int
    world: int
    local: int
    per_host: int
    master: str
    port: int

    def variables(self) -> dict[str, str]:
        """The place as environment variables of torch's names."""
        return {
            **{"RANK": str(self.rank), "WORLD_SIZE": str(self.world)},
            **{"LOCAL_RANK": str(self.local), "LOCAL_WORLD_SIZE": str(self.per_host)},
            **{"MASTER_ADDR": self.master, "MASTER_PORT": str(self.port)},
        }


@dataclass(frozen=True)
class _Names:
    """What a launcher calls them."""

    rank: str
    world: str
    local: str
    per_host: str


_OMPI = _Names(
    *(f"OMPI_COMM_WORLD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE"))
)
_PMI = _Names("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS")
_SLURM = _Names(
    "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"
)


def only_rank() -> RankEnv:
    """The place of a run's only rank, with a port of this host that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return RankEnv(0, 1, 0, 1, "127.0.0.1", probe.getsockname()[1])


def rank_from_environment() -> int:
    """This process's rank before anything is started; 0 without a launcher."""
    return int(os.environ.get("RANK") or "0")


def world_from_environment() -> int:
    """Number of ranks before anything is started; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE") or "1")


def export_torch_env(environ: MutableMapping[str, str]) -> None:
    """Write this process's place under torch's names, which PyTorch and DeepSpeed read.

    Raises:
        UserError: see `rank_env`.
    """
    found = rank_env(environ)
    if found is not None:
        environ.update(found.variables())
        # DeepSpeed insists that it be equal; under a torchrun that mpirun has started it is not.
        environ.pop(_OMPI.local, None)


def rank_env(environ: Mapping[str, str]) -> RankEnv | None:
    """This process's place; None: it is alone.

    Args:
        environ: of this process. Torch's names go before others: an inner launcher sets them.

    Raises:
        UserError: the environment says it in part only, or contradicts itself; names the variable.
    """
    if "RANK" in environ or _several(environ, "WORLD_SIZE"):
        return _of_torch(environ)
    # mpirun starts its own helpers through srun, whose variables ranks then inherit.
    if _several(environ, _OMPI.world):
        return _of_mpi(environ, _OMPI)
    if _several(environ, _PMI.world) and _PMI.local in environ:
        return _of_mpi(environ, _PMI)
    # One task is a shell, perhaps.
    if "SLURM_STEP_ID" in environ and _several(environ, _SLURM.world):
        return _of_slurm(environ)
    if _several(environ, _PMI.world):
        return _of_mpi(environ, _PMI)
    return None


def _several(environ: Mapping[str, str], name: str) -> bool:
    return bool(environ.get(name)) and _number(environ, name) > 1


def _of_torch(environ: Mapping[str, str]) -> RankEnv:
    old = "LOCAL_SIZE" in environ and "LOCAL_WORLD_SIZE" not in environ  # DeepSpeed's launcher
    names = _Names("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_SIZE" if old else "LOCAL_WORLD_SIZE")
    if names.local not in environ or environ.get(names.world) == "1":
        # One rank a host, as pods have it: nothing need be said.
        environ = {names.local: "0", names.per_host: "1", **environ}
    return _of_mpi(environ, names)


def _of_mpi(environ: Mapping[str, str], names: _Names) -> RankEnv:
    per_host = _number(environ, names.per_host)
    return _place(environ, names, per_host, _text(environ, "MASTER_ADDR"), _port(environ))


def _of_slurm(environ: Mapping[str, str]) -> RankEnv:
    master = environ.get("MASTER_ADDR") or expand(_text(environ, "SLURM_STEP_NODELIST"))[0]
    return _place(environ, _SLURM, _tasks_here(environ), master, slurm_port(environ))


def slurm_port(environ: Mapping[str, str]) -> int:
    """The port at which ranks of a Slurm job meet: one that no other job of its nodes has.

    Raises:
        UserError: MASTER_PORT is no port, or there is no job.
    """
    if environ.get("MASTER_PORT"):
        return _port(environ)
    return _FIRST_PORT + _number(environ, "SLURM_JOB_ID") % _PORTS


def _tasks_here(environ: Mapping[str, str]) -> int:
    """Tasks of this node: entry SLURM_NODEID of a list like `2(x3),1`."""
    text, node = _text(environ, _SLURM.per_host), _number(environ, "SLURM_NODEID")
    left = node
    for one in text.split(","):
        match = _COUNT.fullmatch(one)
        if match is None:
            break
        left -= int(match[2] or 1)
        if left < 0:
            return int(match[1])
    raise UserError(f"{_SLURM.per_host}: found '{text[:100]}', which says nothing of node {node}.")


def _place(
    environ: Mapping[str, str], names: _Names, per_host: int, master: str, port: int
) -> RankEnv:
    world = _number(environ, names.world)
    rank, local = _number(environ, names.rank), _number(environ, names.local)
    for name, value, most in ((names.rank, rank, world), (names.local, local, per_host)):
        if value >= most:
            raise UserError(f"{name}: found {value} where there are {most} ranks, counted from 0.")
    if per_host > world:
        raise UserError(f"{names.per_host}: found {per_host} ranks on this host, of {world}.")
    return RankEnv(rank, world, local, per_host, master, port)


def _port(environ: Mapping[str, str]) -> int:
    port = _number(environ, "MASTER_PORT")
    if not 1 <= port <= 65535:
        raise UserError(f"MASTER_PORT: found {port}; allowed: 1 to 65535.")
    return port


def _number(environ: Mapping[str, str], name: str) -> int:
    text = _text(environ, name)
    if not re.fullmatch("[0-9]{1,9}", text, re.ASCII):
        raise UserError(f"{name}: found '{text[:100]}' in the environment, expected a number.")
    return int(text)


def _text(environ: Mapping[str, str], name: str) -> str:
    if not environ.get(name):
        raise UserError(
            f"{name} is not set, though other variables say that this process is one of several"
            " ranks. Set it, or start the ranks with `ptv2-scale launch`."
        )
    return environ[name]
