"""`ptv2-scale launch`: its options, and the plan that they and a recipe make."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from ptv2_scale.errors import UserError
from ptv2_scale.launchers import node
from ptv2_scale.launchers.hostfile import Host, read_hostfile
from ptv2_scale.launchers.plan import Plan, local
from ptv2_scale.launchers.remote import Ssh
from ptv2_scale.launchers.variables import travelling

_PORTS = range(20000, 32768)  # below those that systems give away by themselves


def add_options(launch: argparse.ArgumentParser) -> None:
    """Give the command its options."""
    where = launch.add_argument_group("where")
    one = where.add_mutually_exclusive_group()
    one.add_argument(
        "--hostfile", type=Path, metavar="FILE", help="hosts as DeepSpeed has them: NAME slots=N"
    )
    where.add_argument(
        "--nproc", type=count, metavar="N", help="ranks of a host; default: one a GPU"
    )
    where.add_argument(
        "--master", metavar="ADDRESS[:PORT]", help="where ranks meet; default: the first host"
    )
    how = launch.add_argument_group("how")
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
        "--dry-run", action="store_true", help="print what would run, and start nothing"
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
        here = Host(os.uname().nodename, options.nproc or devices())
        group = node.Group((here,), "127.0.0.1", free_port(), train)
        return local(group, run, node.deepspeed)
    if options.nproc is not None:
        raise UserError("--nproc: a hostfile says itself how many ranks a host has (slots=N).")
    hosts = read_hostfile(options.hostfile)
    master, port = _meeting_place(options.master, hosts)
    return Plan(
        group=node.Group(hosts, master, port, train),
        run=run,
        folder=Path.cwd(),
        variables=travelling(os.environ, Path.home(), Path.cwd()),
        node_launcher=node.deepspeed,
        remote=_ssh(options),
        fan_out=_fan_out(options),
    )


def _meeting_place(given: str | None, hosts: tuple[Host, ...]) -> tuple[str, int]:
    address, colon, port = (given or hosts[0].name).rpartition(":")
    if not colon:
        return port, random.choice(_PORTS)
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise UserError(f"--master {given}: found the port '{port}', expected 1 to 65535.")
    return address, int(port)


def _ssh(options: argparse.Namespace) -> Ssh:
    path: Path | None = options.ssh_config
    if path is not None and not path.is_file():
        raise UserError(f"--ssh-config {path}: no such file.")
    return Ssh(None if path is None else path.absolute())


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
