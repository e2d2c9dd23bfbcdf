"""Start real ranks (processes over gloo) the way a launcher does, and wait for them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import warm
from points import EVERYTHING

CHECKOUT = Path(__file__).resolve().parents[2]
OWN_PATHS = (str(CHECKOUT), str(CHECKOUT / "tests" / "support"))
_RANK = str(Path(__file__).with_name("rank.py"))

Process = subprocess.Popen[str] | warm.Rank


@dataclass
class Ended:
    """How a group of ranks ended: the first code that is not 0, and what each rank printed."""

    code: int
    outputs: list[str]

    def must_succeed(self) -> Ended:
        assert self.code == 0, "\n".join(output[-6000:] for output in self.outputs)
        return self


def environment(rank: int, world: int, port: int) -> dict[str, str]:
    """What torchrun would set for one rank on this host, with the CPU as accelerator."""
    return {
        **os.environ,
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "1",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "PYTHONPATH": os.pathsep.join(
            filter(None, (os.environ.get("PTV2_SCALE_TESTS_PATH"), *OWN_PATHS))
        ),
        "HF_HUB_OFFLINE": "1",
    }


def no_place() -> dict[str, str]:
    """The environment of a launcher that gives ranks their places."""
    place = (
        "RANK",
        "LOCAL_RANK",
        "WORLD_SIZE",
        "LOCAL_WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
    )
    return {key: value for key, value in environment(0, 1, 0).items() if key not in place}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def worker(path: Path, *arguments: object) -> tuple[str, ...]:
    """The arguments of `python` that make a script of the tests one rank."""
    return (_RANK, str(path), *map(str, arguments))


def begin(
    arguments: Sequence[str],
    env: dict[str, str],
    output: IO[str] | None = None,
    group: int | None = None,
) -> Process:
    """Start `python ARGUMENTS`; see `warm`, which `make reliability` does without.

    Args:
        arguments: of python.
        env: the environment.
        output: file for all that it prints; None: `communicate` gives it.
        group: process group to join; 0: a new one; None: this process's.
    """
    if not EVERYTHING and warm.SERVER.fits(env):
        return warm.SERVER.start(arguments, env, output, group)
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=env,
        stdout=output or subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **({} if group is None else {"process_group": group}),
    )


def start(world: int, arguments: Sequence[str]) -> list[Process]:
    """Start `python ARGUMENTS` on each of `world` ranks."""
    port = free_port()
    return [begin(arguments, environment(rank, world, port)) for rank in range(world)]


def wait(processes: list[Process], timeout: float = 400) -> Ended:
    """Wait for all ranks; when one fails, the others are killed."""
    outputs, code = [], 0
    for process in processes:
        try:
            outputs.append(process.communicate(timeout=timeout)[0])
        except subprocess.TimeoutExpired:
            for other in processes:
                other.kill()
            outputs.append(process.communicate()[0] + "\n[did not end in time]")
        if process.returncode and not code:
            code = process.returncode
            for other in processes:
                other.kill()
    return Ended(code, outputs)


def run(world: int, *arguments: str, timeout: float = 400) -> Ended:
    """Run `python ARGUMENTS` on each of `world` ranks."""
    return wait(start(world, arguments), timeout)


def cli(world: int, *arguments: str, timeout: float = 400) -> Ended:
    """Run the command line on each of `world` ranks."""
    return run(world, "-m", "ptv2_scale", *arguments, timeout=timeout)
