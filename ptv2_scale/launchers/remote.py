"""How a host is reached, and asking all hosts of a list something at once."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

MOST_ANSWERED = 4 << 20  # bytes of an answer
_AT_ONCE = 1024  # hosts may have to do something together

# (host, a line that it wrote) -> whether the line is dealt with, and no part of the answer
Heard = Callable[[str, bytes], bool]


class Remote(Protocol):
    """A way to reach hosts."""

    def argv(self, host: str, command: Sequence[str]) -> list[str]:
        """The command of this host that runs `command` on another one, every word intact."""
        ...


@dataclass(frozen=True)
class Ssh:
    """The user's own ssh: keys, host keys and jump hosts are as its configuration says.

    Nothing is ever asked (no terminal is there to answer), and a host that has gone is noticed.

    Attributes:
        config: configuration file instead of ~/.ssh/config.
    """

    config: Path | None = None

    @property
    def options(self) -> list[str]:
        """What is added to the user's configuration."""
        own = [] if self.config is None else ["-F", str(self.config)]
        return [
            *own,
            *("-o", "BatchMode=yes", "-o", "ConnectTimeout=10"),
            *("-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"),
        ]

    def argv(self, host: str, command: Sequence[str]) -> list[str]:
        """See `Remote`."""
        return ["ssh", *self.options, host, shlex.join(command)]


@dataclass(frozen=True)
class Srun:
    """Hosts of the Slurm allocation that this process runs in."""

    def argv(self, host: str, command: Sequence[str]) -> list[str]:
        """See `Remote`."""
        # --export: else srun passes on no more than sbatch was told to.
        step = ("--nodes=1", "--ntasks=1", f"--nodelist={host}", "--overlap", "--export=ALL")
        return ["srun", *step, *command]


@dataclass(frozen=True)
class LocalHost:
    """This host, under whatever name."""

    def argv(self, host: str, command: Sequence[str]) -> list[str]:
        """See `Remote`."""
        return list(command)


@dataclass(frozen=True)
class Answer:
    """What came back from a host.

    Attributes:
        host: its name.
        code: exit code; 255 is ssh's own failure; None: it took too long and was given up.
        out: standard output, up to `MOST_ANSWERED` bytes.
        err: standard error.
    """

    host: str
    code: int | None
    out: bytes
    err: str


def ask(
    remote: Remote,
    commands: Mapping[str, Sequence[str]],
    *,
    stdin: bytes = b"",
    timeout: float = threading.TIMEOUT_MAX,
    heard: Heard | None = None,
) -> dict[str, Answer]:
    """Run a command on each host, on all at once.

    Args:
        remote: how hosts are reached.
        commands: by host.
        stdin: what each command reads.
        timeout: seconds until a command is given up.
        heard: told of each line of standard output as it comes, by several threads.
    """
    if not commands:
        return {}
    with ThreadPoolExecutor(min(len(commands), _AT_ONCE)) as pool:
        asked = {
            host: pool.submit(_ask, host, remote.argv(host, command), stdin, timeout, heard)
            for host, command in commands.items()
        }
        return {host: one.result() for host, one in asked.items()}


def _ask(host: str, argv: list[str], stdin: bytes, timeout: float, heard: Heard | None) -> Answer:
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(stdin)
        given.seek(0)
        try:
            process = subprocess.Popen(argv, stdin=given, stdout=subprocess.PIPE, stderr=errors)
        except OSError as error:
            return Answer(host, 127, b"", f"{argv[0]}: {error.strerror}")
        timer = threading.Timer(timeout, process.kill)
        timer.start()
        assert process.stdout is not None
        with process.stdout:
            out = _read(process.stdout, lambda line: heard is not None and heard(host, line))
        if len(out) == MOST_ANSWERED:
            process.kill()
        code = process.wait()
        late = not timer.is_alive()
        timer.cancel()
        errors.seek(0)
        text = errors.read(MOST_ANSWERED).decode(errors="replace")
        return Answer(host, None if late else code, out, text)


def _read(source: IO[bytes], heard: Callable[[bytes], bool]) -> bytes:
    out = bytearray()
    while line := source.readline(MOST_ANSWERED - len(out)):
        out += b"" if heard(line) else line
    return bytes(out)
