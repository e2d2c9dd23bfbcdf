"""Options of commands that start something on hosts, and what they make."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from ptv2_scale.launchers.backends.registry import rank_backends, transports
from ptv2_scale.launchers.options import LaunchOptions

_SLURM_WORDS = {
    "partition": "partition that the job is queued in",
    "account": "account that the job is charged to",
    "qos": "quality of service of the job",
    "time": "time limit in the notation of sbatch: 24:00:00",
    "constraint": "features that each node must have",
}


def add_options(launch: argparse.ArgumentParser) -> None:
    """Give the command its options."""
    _add_places(launch.add_argument_group("where"))
    _add_slurm(launch.add_argument_group("Slurm, instead of the recipe's own"))
    _add_ways(launch.add_argument_group("how"))


def _add_places(where: argparse._ArgumentGroup) -> None:
    one = where.add_mutually_exclusive_group()
    one.add_argument(
        "--hostfile", type=Path, metavar="FILE", help="hosts and their ranks, NAME slots=N a line"
    )
    one.add_argument(
        "--slurm",
        action="store_true",
        help="submit a batch job, as the recipe's section slurm says",
    )
    where.add_argument(
        "--nproc", type=count, metavar="N", help="ranks of each host; default: one for each GPU"
    )
    where.add_argument(
        "--master", metavar="ADDRESS[:PORT]", help="where ranks meet; default: the first host"
    )
    where.add_argument(
        "--nodes",
        type=count,
        metavar="N",
        help="nodes of a Slurm job; without Slurm, hosts on each of which this command is given",
    )
    where.add_argument(
        "--node-rank", type=number, metavar="I", help="number of this host among them, from 0"
    )


def _add_slurm(slurm: argparse._ArgumentGroup) -> None:
    slurm.add_argument("--gpus-per-node", type=count, metavar="N", help="GPUs of a node")
    for option, what in _SLURM_WORDS.items():
        slurm.add_argument(f"--{option}", metavar=option.upper(), help=what)
    slurm.add_argument(
        "--array", type=Path, metavar="FILE", help="submit one job for each line of key=value words"
    )


def _add_ways(how: argparse._ArgumentGroup) -> None:
    how.add_argument(
        "--backend",
        default="deepspeed",
        metavar=_any_of(rank_backends()),
        help="program that starts the ranks of a host; default: deepspeed",
    )
    how.add_argument(
        "--transport",
        metavar=_any_of(transports()),
        help="how other hosts are reached; default: pdsh where it is installed, else ssh",
    )
    _add_ssh_config(how)
    how.add_argument(
        "--max-restarts",
        type=number,
        default=0,
        metavar="N",
        help="how often a run that failed is started again; default: 0",
    )
    how.add_argument(
        "--backoff",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="pause before the first restart, twice as long each time; default: 10",
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
        "--hostfile",
        type=Path,
        metavar="FILE",
        help="do it on all hosts of this file, NAME slots=N a line",
    )
    one.add_argument(
        "--slurm", action="store_true", help="do it on all nodes of this Slurm allocation"
    )
    _add_ssh_config(command)


def _add_ssh_config(options: argparse._ActionsContainer) -> None:
    options.add_argument(
        "--ssh-config",
        type=Path,
        metavar="FILE",
        help="configuration of ssh; default: ~/.ssh/config",
    )


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
