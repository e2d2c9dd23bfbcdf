"""Options of commands that start something on hosts, and what they make."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from ptv2_scale.launchers.backends.registry import rank_backends, transports
from ptv2_scale.launchers.options import LaunchOptions

_SLURM_WORDS = {
    "partition": "where the job is queued",
    "account": "that pays for it",
    "qos": "quality of service",
    "time": "limit, as sbatch has it: 24:00:00",
    "constraint": "features that a node must have",
}


def add_options(launch: argparse.ArgumentParser) -> None:
    """Give the command its options."""
    where = launch.add_argument_group("where")
    one = where.add_mutually_exclusive_group()
    one.add_argument(
        "--hostfile", type=Path, metavar="FILE", help="hosts as DeepSpeed has them: NAME slots=N"
    )
    one.add_argument(
        "--slurm", action="store_true", help="a batch job, as the recipe's section slurm asks for"
    )
    where.add_argument(
        "--nproc", type=count, metavar="N", help="ranks of a host; default: one a GPU"
    )
    where.add_argument(
        "--master", metavar="ADDRESS[:PORT]", help="where ranks meet; default: the first host"
    )
    where.add_argument(
        "--nodes",
        type=count,
        metavar="N",
        help="nodes of a Slurm job; without Slurm this command is given on each of them",
    )
    where.add_argument(
        "--node-rank", type=number, metavar="I", help="number of this host among them, from 0 on"
    )
    slurm = launch.add_argument_group("Slurm, instead of the recipe's own")
    slurm.add_argument("--gpus-per-node", type=count, metavar="N", help="GPUs of a node")
    for option, what in _SLURM_WORDS.items():
        slurm.add_argument(f"--{option}", metavar=option.upper(), help=what)
    slurm.add_argument(
        "--array", type=Path, metavar="FILE", help="a job for each line of key=value words"
    )
    how = launch.add_argument_group("how")
    how.add_argument(
        "--backend",
        default="deepspeed",
        metavar=_any_of(rank_backends()),
        help="what starts a host's ranks",
    )
    how.add_argument(
        "--transport",
        metavar=_any_of(transports()),
        help="to hosts; default: pdsh where it is installed",
    )
    how.add_argument("--ssh-config", type=Path, metavar="FILE", help="instead of ~/.ssh/config")
    how.add_argument(
        "--max-restarts", type=number, default=0, metavar="N", help="after a rank or host failed"
    )
    how.add_argument(
        "--backoff", type=float, default=10.0, metavar="SECONDS", help="before the first restart"
    )
    how.add_argument(
        "--no-doctor", action="store_true", help="start without checking the hosts before"
    )
    how.add_argument(
        "--dry-run", action="store_true", help="print what would run, and start nothing"
    )


def add_hosts(command: argparse.ArgumentParser) -> None:
    """Give a command that is for all hosts its options; without them it is for this one."""
    one = command.add_mutually_exclusive_group()
    one.add_argument(
        "--hostfile", type=Path, metavar="FILE", help="on all its hosts, NAME slots=N a line"
    )
    one.add_argument("--slurm", action="store_true", help="on all nodes of the allocation")
    command.add_argument("--ssh-config", type=Path, metavar="FILE", help="instead of ~/.ssh/config")


def launch_options(arguments: argparse.Namespace) -> LaunchOptions:
    """The options of a launch, from the command line's.

    Raises:
        UserError: see `LaunchOptions`.
    """
    given = {**vars(arguments), "overrides": tuple(arguments.overrides)}
    given["doctor"] = not arguments.no_doctor
    own = (one.name for one in fields(LaunchOptions) if one.name in given)
    return LaunchOptions(**{name: given[name] for name in own})


def _any_of(names: Iterable[str]) -> str:
    return f"{{{','.join(names)}}}"


def number(text: str) -> int:
    """A whole number from 0 on, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"found '{text}', expected a whole number")
    return int(text)


def count(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if number(text) < 1:
        raise argparse.ArgumentTypeError(f"found '{text}', expected a whole number from 1 on")
    return int(text)
