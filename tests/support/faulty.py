"""The command line of one rank, with a fault that happens at a chosen point: see `fail_at`.

    python faulty.py FAULT-AS-JSON train RECIPE ...

The product knows nothing of this: points are found by an audit hook (file operations) and by
wrapping functions from outside.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FAULT: dict[str, Any] = json.loads(sys.argv.pop(1)) if __name__ == "__main__" else {}
EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "fsync")


def strike() -> None:
    """What happens at the point."""
    getattr(sys.modules[__name__], f"do_{FAULT['do']}")()


def do_kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def do_kill_all() -> None:
    os.killpg(0, signal.SIGKILL)


def do_stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def do_raise() -> None:
    raise RuntimeError("planted by the test")


def do_mistake() -> None:
    from ptv2_scale.runtime.errors import UserError

    raise UserError("planted by the test")


def do_hang() -> None:
    while True:
        time.sleep(1)


def do_fill() -> None:
    """Fill the file system that the run lies on."""
    with (Path(FAULT["place"]) / "filler").open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                pass


def do_read_only() -> None:
    remount(FAULT["place"], read_only=True)


def do_vanish() -> None:
    place = Path(FAULT["place"])
    place.rename(place.with_name("gone"))


def remount(place: str, read_only: bool) -> None:
    """Remount a file system; MS_REMOUNT is 32, MS_RDONLY 1."""
    flags = 32 | (1 if read_only else 0)
    if ctypes.CDLL(None, use_errno=True).mount(b"none", place.encode(), None, flags, None):
        raise OSError(ctypes.get_errno(), "remount failed")


class Counter:
    """Strikes before the n-th file operation inside a run's `checkpoints`."""

    def __init__(self, number: int, log: str | None) -> None:
        self.left, self.log, self.busy = number, log, False

    def see(self, event: str, path: object) -> None:
        if self.busy or not isinstance(path, (str, os.PathLike)) or not inside(os.fspath(path)):
            return
        self.busy = True  # what the fault itself does is not counted
        self.left -= 1
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{event} {os.path.basename(os.fspath(path))}\n")
        if self.left == 0:
            strike()
        self.busy = False


def inside(path: str) -> bool:
    return "/checkpoints/" in path or path.endswith("/checkpoints")


def watch_files(counter: Counter) -> None:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_DIRECTORY)
        if event in EVENTS and arguments and not (reads and os.path.isfile(str(arguments[0]))):
            counter.see(event, arguments[0])

    real = os.fsync

    def fsync(handle: int) -> None:
        counter.see("fsync", os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    os.fsync = fsync
    sys.addaudithook(hook)


def tear_writes(number: int) -> None:
    """The n-th file of a checkpoint is written by half, then comes the fault."""
    from ptv2_scale.checkpoint import store as checkpoint

    real, left = checkpoint.write_synced, [number]

    def write_synced(path: Path, pieces: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            content = b"".join(map(bytes, pieces))
            path.write_bytes(content[: len(content) // 2])
            strike()
        return real(path, pieces)

    from ptv2_scale.checkpoint import manifest

    checkpoint.write_synced = manifest.write_synced = write_synced


def wrap(owner: Any, name: str, when: Callable[..., bool], *, after: bool = False) -> None:
    real = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        hit = when(*arguments, **named)
        if hit and not after:
            strike()
        result = real(*arguments, **named)
        if hit and after:
            strike()
        return result

    setattr(owner, name, wrapped)


def at_step(step: int) -> None:
    """Before the step's last backward pass on this rank."""
    from ptv2_scale.engine.trainer import Trainer

    current = [0]
    wrap_step = Trainer.step

    def step_(self: Any, number: int, asked: bool) -> Any:
        current[0] = number + 1
        return wrap_step(self, number, asked)

    Trainer.step = step_
    done = []

    def now(*_: Any) -> bool:
        hit = current[0] == step and not done
        done.extend([1] if hit else [])
        return hit

    wrap(Trainer, "_backward", now)


def not_finite(step: int, what: str) -> None:
    """A loss or gradient of one rank that is not finite, at one step or several."""
    import torch

    from ptv2_scale.engine.trainer import Trainer

    steps = range(step, step + FAULT.get("times", 1))
    current, real_step, real = [0], Trainer.step, Trainer._backward

    def step_(self: Any, number: int, asked: bool) -> Any:
        current[0] = number + 1
        return real_step(self, number, asked)

    def backward(self: Any, *arguments: Any) -> Any:
        if current[0] not in steps:
            return real(self, *arguments)
        task, loss_sum = self._task, self._task.loss_sum

        def spoiled(outputs: Any, targets: Any) -> Any:
            if what == "gradient":
                outputs.register_hook(lambda gradient: gradient * float("inf"))
                return loss_sum(outputs, targets)
            return loss_sum(outputs, targets) + torch.tensor(float(what))

        object.__setattr__(task, "loss_sum", spoiled)
        try:
            return real(self, *arguments)
        finally:
            object.__setattr__(task, "loss_sum", loss_sum)

    Trainer.step, Trainer._backward = step_, backward


def always(*_: Any, **__: Any) -> bool:
    return True


def at_start(place: str) -> None:
    """In the middle of an engine's start."""
    import deepspeed
    from torch.utils import file_baton

    from ptv2_scale.checkpoint import resume
    from ptv2_scale.engine import build, join, run, state
    from ptv2_scale.methods.prefix import method

    owner, name, after = {
        "extensions": (join, "prepare_extensions", False),
        "extension lock": (file_baton.FileBaton, "try_acquire", True),
        "rendezvous": (deepspeed, "init_distributed", False),
        "joined": (deepspeed, "init_distributed", True),
        "finding": (run, "find_start", False),
        "opening": (resume, "remove_unfinished", True),
        "loading": (build, "load_weights", True),
        "initialising": (deepspeed, "initialize", True),
        "restoring": (state, "restore", True),
        "guard": (method, "check_prefix", True),
    }[place]
    wrap(owner, name, always, after=after)


def plant() -> None:
    if "file" in FAULT:
        watch_files(Counter(FAULT["file"], FAULT.get("log")))
    if "torn" in FAULT:
        tear_writes(FAULT["torn"])
    if "step" in FAULT and FAULT["do"] in ("nan", "inf", "gradient"):
        not_finite(FAULT["step"], FAULT["do"])
    elif "step" in FAULT:
        at_step(FAULT["step"])
    if "start" in FAULT:
        at_start(FAULT["start"])


if __name__ == "__main__":
    if FAULT.get("rank") in (None, int(os.environ.get("RANK", "0"))):
        plant()
    from ptv2_scale.cli import run

    run()
