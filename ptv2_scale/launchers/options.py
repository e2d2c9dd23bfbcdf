"""`ptv2-scale launch`: its options, and the plan that they and a recipe make."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from ptv2_scale.config import Slurm
from ptv2_scale.launchers import node
from ptv2_scale.launchers.array import read_trials
from ptv2_scale.launchers.forwarded_env import forwarded_env
from ptv2_scale.launchers.hostfile import Host, read_hostfile
from ptv2_scale.launchers.local import Share, node_number
from ptv2_scale.launchers.remote import Ssh
from ptv2_scale.launchers.slurm import SlurmJob
from ptv2_scale.launchers.spec import Plan
from ptv2_scale.runtime.errors import UserError

_SLURM_WORDS = {
    "partition": "where the job is queued",
    "account": "that pays for it",
    "qos": "quality of service",
    "time": "limit, as sbatch has it: 24:00:00",
    "constraint": "features that a node must have",
}
_PORTS = range(20000, 32768)  # below those that systems give away by themselves


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
        choices=("deepspeed", "torchrun", "accelerate"),
        default="deepspeed",
        help="what starts a host's ranks",
    )
    how.add_argument(
        "--transport", choices=("pdsh", "ssh"), help="to hosts; default: pdsh where it is installed"
    )
    how.add_argument("--ssh-config", type=Path, metavar="FILE", help="instead of ~/.ssh/config")
    how.add_argument(
        "--max-restarts", type=number, default=0, metavar="N", help="after a rank or host failed"
    )
    how.add_argument(
        "--backoff", type=float, default=10.0, metavar="SECONDS", help="before the first restart"
    )
    how.add_argument(
        "--no-doctor", action="store_true", help="start without a look at the hosts before"
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


def slurm_overrides(options: argparse.Namespace) -> list[str]:
    """The options that stand for keys of the recipe's section `slurm`, as overrides.

    Raises:
        UserError: an option of Slurm's is given without --slurm.
    """
    given = {"gpus-per-node": options.gpus_per_node}
    given |= {option: getattr(options, option) for option in _SLURM_WORDS}
    for option, value in (*given.items(), ("array", options.array)):
        if value is not None and not options.slurm:
            raise UserError(f"--{option}: is for Slurm. Add --slurm, or leave it out.")
    if not options.slurm:
        return []
    given |= {"nodes": options.nodes, "ranks-per-node": options.nproc}
    return [
        # Quoted as YAML has it, so that a word stays one.
        f"slurm.{option.replace('-', '_')}={json.dumps(value)}"
        for option, value in given.items()
        if value is not None
    ]


def slurm_job_of(
    options: argparse.Namespace, train: tuple[str, ...], settings: Slurm, run: Path
) -> SlurmJob:
    """What a launch by Slurm is to do; see `plan_of`.

    Raises:
        UserError: options do not go together, or a file cannot be read.
    """
    for option in ("transport", "ssh_config", "master", "node_rank"):
        if getattr(options, option) is not None:
            raise UserError(f"--{option.replace('_', '-')}: not with --slurm. Leave it out.")
    if options.backend != "deepspeed":
        raise UserError(f"--backend {options.backend}: not with --slurm; see slurm.launcher.")
    if options.max_restarts:
        raise UserError("--max-restarts: not with --slurm. A job that was stopped comes back by"
                        " itself (slurm.requeues); one that failed stays where it is.")  # fmt: skip
    return SlurmJob(
        settings=settings,
        run=run,
        folder=Path.cwd(),
        train=train,
        resume=options.resume,
        variables=forwarded_env(os.environ, Path.home(), Path.cwd()).offline(),
        trials=() if options.array is None else read_trials(options.array, run),
        doctor=settings.nodes > 1 and not options.no_doctor,
    )


def plan_of(
    options: argparse.Namespace, train: tuple[str, ...], run: Path, devices: Callable[[], int]
) -> Plan:
    """What a launch is to do.

    Args:
        options: as `add_options` has them.
        train: arguments of `ptv2-scale` for each rank.
        run: the run directory.
        devices: counts the accelerators of this host.

    Raises:
        UserError: options do not go together, or a file cannot be read.
    """
    if options.hostfile is None:
        return _share(options, train, run, devices).plan(
            options.backend, torchrun_restarts(options)
        )
    for option in ("nproc", "nodes", "node_rank"):
        if getattr(options, option) is not None:
            name = option.replace("_", "-")
            raise UserError(f"--{name}: not with --hostfile, whose lines say it (NAME slots=N).")
    if options.backend == "accelerate":
        raise UserError(
            "--backend accelerate: not with --hostfile. Give the command on each node (--nodes N"
            " --node-rank I --master HOST:PORT), or leave --backend out."
        )
    hosts = read_hostfile(options.hostfile)
    master, port = meeting_place(options.master, hosts[0].name)
    return Plan(
        group=node.Group(hosts, master, port, train),
        run=run,
        folder=Path.cwd(),
        variables=forwarded_env(os.environ, Path.home(), Path.cwd()).offline(),
        node_launcher=node.deepspeed if options.backend == "deepspeed" else node.torchrun,
        remote=ssh_of(options),
        fan_out=_fan_out(options),
    )


def torchrun_restarts(options: argparse.Namespace) -> int:
    """How often torchrun is to start ranks again, where the launch does not."""
    elsewhere = options.backend != "torchrun" or options.hostfile is not None
    return 0 if elsewhere else int(options.max_restarts)


def _share(
    options: argparse.Namespace, train: tuple[str, ...], run: Path, devices: Callable[[], int]
) -> Share:
    number, nodes = node_number(options), options.nodes or 1
    for option in ("transport", "ssh_config"):
        if getattr(options, option) is not None:
            raise _needs_hostfile(option.replace("_", "-"))
    if nodes == 1 and options.master is not None:
        raise UserError("--master: ranks of one host meet there. Add --nodes N, or leave it out.")
    if nodes > 1 and (options.master is None or ":" not in options.master):
        raise UserError(
            f"--nodes {nodes}: say where they meet, the same on each: --master HOST:PORT, HOST the"
            " first one's address."
        )
    master, port = meeting_place(options.master or f"127.0.0.1:{free_port()}", "")
    slots = options.nproc or devices()
    hosts = tuple(Host(f"node{one}", slots) for one in range(nodes))
    return Share(node.Group(hosts, master, port, train), number, run)


def meeting_place(given: str | None, first: str) -> tuple[str, int]:
    """Address and port at which ranks meet.

    Args:
        given: by --master; the port may be left out.
        first: address of the first host, where nothing was given.

    Raises:
        UserError: the port is none.
    """
    address, colon, port = (given or first).rpartition(":")
    if not colon:
        return port, random.choice(_PORTS)
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise UserError(f"--master {given}: found the port '{port}', expected 1 to 65535.")
    return address, int(port)


def ssh_of(options: argparse.Namespace) -> Ssh:
    """The ssh of --ssh-config.

    Raises:
        UserError: there is no such file, or no host is reached by ssh.
    """
    path: Path | None = options.ssh_config
    if path is not None and options.hostfile is None:
        raise _needs_hostfile("ssh-config")
    if path is not None and not path.is_file():
        raise UserError(f"--ssh-config {path}: no such file.")
    return Ssh(None if path is None else path.absolute())


def _needs_hostfile(option: str) -> UserError:
    return UserError(f"--{option}: is for a hostfile's hosts. Add --hostfile, or leave it out.")


def _fan_out(options: argparse.Namespace) -> bool:
    installed = shutil.which("pdsh") is not None
    if options.transport == "pdsh" and not installed:
        raise UserError("--transport pdsh: pdsh is not installed here. Install it, or use ssh.")
    if options.transport == "ssh" or not installed:
        return False
    path = "" if options.ssh_config is None else str(options.ssh_config.absolute())
    if len(path.split()) > 1:
        # pdsh splits its options for ssh at blanks, and knows no quotes.
        raise UserError(f"--ssh-config '{path}': pdsh takes no path with blanks; --transport ssh.")
    return True


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


def free_port() -> int:
    """A port of this host that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
