"""`ptv2-scale launch` over a cluster's hosts, and the same job on this host alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import ranks
from cluster import Cluster

# The demo, six steps long. Interfaces are found, not given.
DEMO = ("demo", "train.epochs=null", "train.steps=4", "train.head_only_baseline=false",
        "evaluate.every=4", "checkpoint.every=2",
        # Two ranks divide these, and three.
        "train.global_batch=24", "train.micro_batch=4")  # fmt: skip


@dataclass
class Launched:
    """A launch in progress; its output is in `log`."""

    process: subprocess.Popen[bytes]
    log: Path
    began: float = field(default_factory=time.monotonic)

    def code(self, timeout: float = 150) -> int:
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            raise AssertionError(f"the launch did not end:\n{self.text()}") from None

    def must_succeed(self) -> str:
        assert self.code() == 0, self.text()[-8000:]
        return self.text()

    def text(self) -> str:
        return self.log.read_text(errors="replace")


@dataclass
class Run:
    """A run directory, and ways to run into it."""

    path: Path
    recipe: tuple[str, ...] = DEMO

    @property
    def arguments(self) -> tuple[str, ...]:
        return (*self.recipe, f"run={self.path}")

    def launch(
        self, cluster: Cluster, *options: str, env: dict[str, str] | None = None
    ) -> Launched:
        argv = [sys.executable, "-m", "ptv2_scale", "launch", *self.arguments]
        argv += ["--hostfile", str(cluster.hostfile), "--ssh-config", str(cluster.ssh_config)]
        return self.start([*argv, *options], env)

    def start(self, argv: list[str], env: dict[str, str] | None = None) -> Launched:
        log = self.path.with_name(f"{self.path.name}.log")
        with log.open("ab") as output:
            process = subprocess.Popen(
                argv, env={**ranks.no_place(), **(env or {})}, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return Launched(process, log)

    def here(self, world: int, *words: str) -> None:
        """Run to the end on ranks of this host."""
        ranks.cli(world, "train", *self.arguments, *words).must_succeed()

    def result(self) -> bytes:
        """The bytes of the final prefix and head."""
        return (self.path / "export" / "prompt.safetensors").read_bytes()

    def steps(self) -> list[int]:
        path = self.path / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [json.loads(line) for line in lines if line]
        return [one["step"] for one in found if one["event"] == "step"]

    def status(self) -> dict[str, Any]:
        return dict(json.loads((self.path / "status.json").read_text()))

    def wait_for(self, step: int, timeout: float = 90) -> None:
        """Wait until a step was made."""
        until = time.monotonic() + timeout
        while not any(one >= step for one in self.steps()):
            assert time.monotonic() < until, "the run did not get there"
            time.sleep(0.05)


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
