"""Hosts on this machine that share all files but one folder, which each has for itself.

A host is a mount and a UTS namespace: it has a name (node1, ...) and sees its own disk at `own`.
From outside all disks are seen, as `disk(1)`, ...
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import ranks

_INSIDE = 'hostname "$0" && mount --rbind "$1" "$2" && echo ready && exec cat'


class Hosts:
    """Hosts that are up; `down` ends them."""

    def __init__(self, folder: Path, count: int) -> None:
        if subprocess.run(["unshare", "--mount", "--uts", "true"], check=False).returncode:
            pytest.skip("mount namespaces need root")
        self.own, self._folder, self.count = folder / "own", folder, count
        self.own.mkdir(parents=True, exist_ok=True)
        self._holders = [self._start(number) for number in range(1, count + 1)]

    @property
    def run(self) -> Path:
        """The run directory, as each host sees its own."""
        return self.own / "run"

    def disk(self, number: int) -> Path:
        return self._folder / f"node{number}"

    def checkpoint(self, number: int, step: int) -> Path:
        """A checkpoint of the run on a host's disk, seen from outside."""
        return self.disk(number) / "run" / "checkpoints" / f"step-{step:08d}"

    def _start(self, number: int) -> subprocess.Popen[str]:
        self.disk(number).mkdir(exist_ok=True)
        arguments = [f"node{number}", str(self.disk(number)), str(self.own)]
        holder = subprocess.Popen(
            ["unshare", "--mount", "--uts", "sh", "-c", _INSIDE, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        return holder

    def _inside(self, number: int) -> list[str]:
        target = f"--target={self._holders[number - 1].pid}"
        return ["nsenter", target, "--mount", "--uts", f"--wd={os.getcwd()}"]

    def sh(self, number: int, *argv: str) -> None:
        """Run a command on a host."""
        subprocess.run([*self._inside(number), *argv], check=True)

    def start(
        self, arguments: Sequence[str], on: Sequence[int] = (), **options: Any
    ) -> list[subprocess.Popen[str]]:
        """Start `python ARGUMENTS` as one rank on each of the hosts of `on`; default: all."""
        on, port = on or range(1, self.count + 1), ranks.free_port()
        processes: list[subprocess.Popen[str]] = []
        for rank, number in enumerate(on):
            processes.append(
                subprocess.Popen(
                    [*self._inside(number), sys.executable, *arguments],
                    env=ranks.environment(rank, len(on), port),
                    text=True,
                    process_group=processes[0].pid if processes else 0,
                    **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options},
                )
            )
        return processes

    def down(self) -> None:
        for holder in self._holders:
            holder.communicate()
