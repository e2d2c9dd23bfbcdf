"""What a launch is asked for: the options of `ptv2-scale launch`, as one value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ptv2_scale.runtime.errors import UserError

# Options that stand for keys of the recipe's section `slurm`, and for nothing without Slurm.
_SLURM_ONLY = ("gpus_per_node", "partition", "account", "qos", "time", "constraint")
_FROM_ONE = ("nproc", "nodes", "gpus_per_node")
_FROM_ZERO = ("node_rank", "max_restarts")


@dataclass(frozen=True)
class LaunchOptions:
    """What a launch is asked for; messages name a field as the command line's option (`--nproc`).

    Attributes:
        recipe: YAML file of the run, or `demo`.
        overrides: `key=value` texts on top of the recipe, such as "train.lr=5e-3".
        resume: "auto" (the newest valid checkpoint), "never", or the path of a checkpoint.
        hostfile: file with a line `NAME slots=N` a host; None: this host, or Slurm.
        slurm: submit a batch job, as the recipe's section `slurm` asks for.
        nproc: ranks of a host; None: one an accelerator.
        master: ADDRESS or ADDRESS:PORT at which ranks meet; None: the first host.
        nodes: nodes of a Slurm job; without Slurm the same launch is made on each of them.
        node_rank: number of this host among them, from 0 on.
        gpus_per_node: GPUs of a Slurm node; this and the next five stand for the recipe's own.
        partition: Slurm partition in which the job is queued.
        account: Slurm account that the job is charged to.
        qos: Slurm quality of service.
        time: Slurm time limit, as sbatch has it ("24:00:00").
        constraint: features that a Slurm node must have.
        array: file with a Slurm job a line, as `key=value` words.
        backend: name of the launcher that starts a host's ranks; see `launchers.backends`.
        transport: "pdsh" or "ssh" to the hosts of a hostfile; None: pdsh where it is installed.
        ssh_config: configuration file of ssh instead of ~/.ssh/config.
        max_restarts: restarts after a rank or host failed.
        backoff: seconds before the first restart; each further one waits twice as long.
        doctor: whether several hosts are checked before their ranks start.
        dry_run: only tell what would run.
        devices: accelerators of this host that its ranks may use, as CUDA_VISIBLE_DEVICES has them,
            for programs that launch several runs at a time; None: that variable says.

    Raises:
        UserError: a number is out of its range, or options do not go together.
    """

    recipe: str
    overrides: tuple[str, ...] = ()
    resume: str = "never"
    hostfile: Path | None = None
    slurm: bool = False
    nproc: int | None = None
    master: str | None = None
    nodes: int | None = None
    node_rank: int | None = None
    gpus_per_node: int | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: str | None = None
    constraint: str | None = None
    array: Path | None = None
    backend: str = "deepspeed"
    transport: str | None = None
    ssh_config: Path | None = None
    max_restarts: int = 0
    backoff: float = 10.0
    doctor: bool = True
    dry_run: bool = False
    devices: str | None = None

    def __post_init__(self) -> None:
        for least, names in ((1, _FROM_ONE), (0, _FROM_ZERO)):
            for name, value in self.given(names).items():
                if int(str(value)) < least:
                    raise UserError(f"{option(name)} {value}: expected a number from {least} on.")
        if not self.backoff >= 0:
            raise UserError(f"--backoff {self.backoff:g}: expected seconds from 0 on.")
        if self.slurm and self.hostfile is not None:
            raise UserError("--hostfile: not with --slurm, which gives hosts. Leave one out.")
        for name in () if self.slurm else self.given((*_SLURM_ONLY, "array")):
            raise UserError(f"{option(name)}: is for Slurm. Add --slurm, or leave it out.")

    def given(self, names: Iterable[str]) -> Mapping[str, object]:
        """Those of some fields that were given a value, by name."""
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def train(self) -> tuple[str, ...]:
        """Arguments of `ptv2-scale` for each rank; the launch adds where to resume."""
        return ("train", self.recipe, *self.overrides)

    @property
    def slurm_overrides(self) -> list[str]:
        """The options that stand for keys of the recipe's section `slurm`, as overrides."""
        if not self.slurm:
            return []
        keys = {name: name for name in (*_SLURM_ONLY, "nodes")} | {"nproc": "ranks_per_node"}
        return [
            # Quoted as YAML has it, so that a word stays one.
            f"slurm.{keys[name]}={json.dumps(value)}"
            for name, value in self.given(keys).items()
        ]


def option(name: str) -> str:
    """A field's name as the command line has it: `node_rank` is `--node-rank`."""
    return f"--{name.replace('_', '-')}"


def refuse(options: LaunchOptions, names: Iterable[str], why: str) -> None:
    """Refuse fields that are of no use to what a launch is for.

    Args:
        options: of the launch.
        names: fields, in the order in which they are looked at.
        why: end of the message: "not with --slurm. Leave it out."

    Raises:
        UserError: one of them was given; names it.
    """
    for name in options.given(names):
        raise UserError(f"{option(name)}: {why}")
