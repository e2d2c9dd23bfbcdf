"""One small job, its uninterrupted run, and ways to fail it and to go on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ranks

FAULTY = str(Path(__file__).with_name("faulty.py"))
HOST = socket.gethostname()


@dataclass
class Group:
    """Ranks that run, in a process group of their own."""

    processes: list[ranks.Process]
    logs: list[Path]
    began: float = field(default_factory=time.monotonic)

    def codes(self, timeout: float = 120) -> list[int]:
        """Exit code of each rank; those that outlive `timeout` are killed and count as None."""
        until = time.monotonic() + timeout
        for process in self.processes:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError(f"a rank did not end:\n{self.text()}") from None
        return [process.returncode for process in self.processes]

    def text(self) -> str:
        """All that the ranks have printed."""
        return "\n".join(f"[rank {n}] {log.read_text()}" for n, log in enumerate(self.logs))

    def must_succeed(self, timeout: float = 200) -> None:
        assert self.codes(timeout) == [0] * len(self.processes), self.text()[-8000:]


@dataclass
class Job:
    """A recipe in a folder."""

    folder: Path
    world: int = 2
    name: str = "run"

    @property
    def run(self) -> Path:
        return self.folder / self.name

    def start(self, *arguments: str, fault: dict[str, Any] | None = None) -> Group:
        """Start `ptv2-scale train` on all ranks, perhaps with a fault planted."""
        own = ("-m", "ptv2_scale") if fault is None else (FAULTY, json.dumps(fault))
        train = ("train", str(self.folder / "recipe.yaml"), f"run={self.run}", *arguments)
        port = ranks.free_port()
        logs = [self.folder / f"{self.name}.{rank}.log" for rank in range(self.world)]
        processes: list[ranks.Process] = []
        for rank, log in enumerate(logs):
            with log.open("w") as output:
                environment = ranks.environment(rank, self.world, port)
                leader = processes[0].pid if processes else 0
                processes.append(ranks.begin((*own, *train), environment, output, leader))
        return Group(processes, logs)

    def go_on(self, *arguments: str) -> str:
        """Resume to the end; returns what was printed."""
        group = self.start("--resume", "auto", *arguments)
        group.must_succeed()
        return group.text()

    def losses(self) -> dict[int, float]:
        """Loss of each step; of a step that was made twice, the last."""
        return {one["step"]: one["loss"] for one in self.events("step")}

    def events(self, kind: str) -> list[dict[str, Any]]:
        path = self.run / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [json.loads(line) for line in lines if line]
        return [one for one in found if one["event"] == kind]

    def wait_for(self, step: int, timeout: float = 120) -> None:
        """Wait until a step was made."""
        until = time.monotonic() + timeout
        while not any(one["step"] >= step for one in self.events("step")):
            assert time.monotonic() < until, "the run did not get there"
            time.sleep(0.02)

    def result(self) -> bytes:
        """The bytes of the final prefix and head."""
        return (self.run / "export" / "prompt.safetensors").read_bytes()

    def checkpoints(self) -> list[str]:
        return sorted(path.name for path in (self.run / "checkpoints").iterdir())

    def status(self) -> dict[str, Any]:
        return dict(json.loads((self.run / "status.json").read_text()))


def send(processes: Sequence[ranks.Process], number: signal.Signals) -> None:
    for process in processes:
        os.kill(process.pid, number)
