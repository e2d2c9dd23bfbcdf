"""Where hostile input is tried: how it may end, how long it may take, what it may touch."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptv2_scale.runtime.errors import UserError

LONGEST_S = 5.0
LARGEST_KIB = 1 << 20  # what one input may make this process grow by: 1 GiB
LONGEST_MESSAGE = 10_000
SECRET = "hf_secretOfThisEnvironment"

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Audit events of Python: which arguments are paths that are changed.
_CHANGES = {
    "os.mkdir": (0,), "os.rename": (0, 1), "os.remove": (0,), "os.rmdir": (0,),
    "os.link": (1,), "os.symlink": (1,), "os.truncate": (0,), "os.chmod": (0,),
}  # fmt: skip
_FORBIDDEN = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty",
    "pty.spawn", "socket.connect", "socket.getaddrinfo", "pickle.find_class",
)  # fmt: skip


@dataclass
class Tally:
    """How many inputs of each kind were tried, and how many of them were refused."""

    tried: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, *, refused: bool) -> None:
        self.tried[kind] = self.tried.get(kind, 0) + 1
        self.refused[kind] = self.refused.get(kind, 0) + refused

    def as_json(self) -> dict[str, dict[str, int]]:
        kinds = sorted(self.tried)
        return {kind: {"tried": self.tried[kind], "refused": self.refused[kind]} for kind in kinds}


class Watch:
    """Notes what Python code changes outside a folder, and whom it starts or calls."""

    def __init__(self, allowed: Path) -> None:
        self._allowed = f"{allowed.resolve()}{os.sep}"
        self.seen: list[str] = []

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FORBIDDEN:
            self.seen.append(f"{event} {str(arguments):.200}")
        elif event == "open" and arguments[2] & _WRITES:
            self._changed(event, arguments[0])
        else:
            for place in _CHANGES.get(event, ()):
                self._changed(event, arguments[place])

    def _changed(self, event: str, path: Any) -> None:
        if isinstance(path, int):
            return
        real = os.path.realpath(os.fsdecode(path))
        known = (
            f"{real}{os.sep}".startswith(self._allowed)
            or "__pycache__" in real
            or real == os.devnull
        )
        if not known:
            self.seen.append(f"{event} {real}")

    def __enter__(self) -> Watch:
        self.seen = []
        _watching.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _watching.clear()


_watching: list[Watch] = []


def _take(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching:
        _watching[0].note(event, arguments)


sys.addaudithook(_take)  # once: a hook cannot be taken away again


class Arena:
    """A folder in which input is tried, beside one that nothing may touch.

    Args:
        root: an empty folder.
        tally: counts every trial.
    """

    def __init__(self, root: Path, tally: Tally) -> None:
        self.inside, self.outside = root / "inside", root / "outside"
        self.canary = root / "canary"  # what hostile code would write
        self.inside.mkdir()
        self.outside.mkdir()
        (self.outside / "mine").write_text("precious")
        (self.outside / "rows.jsonl").write_text('{"text": "x", "label": "a"}\n' * 2)
        self._tally = tally
        self._root = root
        self._watch = Watch(self.inside)
        self._before = self._outside()

    def attempt(self, kind: str, action: Callable[[], object]) -> UserError | None:
        """Run `action`; it must do its work or raise `UserError`, soon, and change nothing else.

        Returns:
            The error, or None where the input was accepted.
        """
        began, grown = time.process_time(), _peak()
        error = None
        with self._watch as watch:
            try:
                action()
            except UserError as caught:
                error = caught
        # Processor time: other work on this machine must not fail the test.
        assert time.process_time() - began < LONGEST_S
        assert _peak() - grown < LARGEST_KIB
        assert watch.seen == []
        assert not self.canary.exists()
        assert self._outside() == self._before
        if error is not None:
            _check_message(str(error))
        self._tally.add(kind, refused=error is not None)
        return error

    def _outside(self) -> dict[str, tuple[int, int]]:
        """All that lies in the arena but not inside."""
        found = [*self._root.iterdir(), *self.outside.rglob("*")]
        return {
            str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
            for path in found
            if path != self.inside
        }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _check_message(message: str) -> None:
    assert message.strip()
    assert "Traceback" not in message
    assert SECRET not in message
    assert len(message) <= LONGEST_MESSAGE
    # Nothing a terminal would obey.
    assert all(line.isprintable() for line in message.split("\n"))
