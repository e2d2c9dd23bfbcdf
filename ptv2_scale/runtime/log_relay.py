"""A rank's output on its way to the terminal and to the rank's log: a small process of its own.

    python -I -S log_relay.py CONTROL OUT ERR TAG

CONTROL, OUT and ERR are descriptors to read from; CONTROL is a socket. Each line of it is a log's
path and what to write in front, as JSON; before the first the newest `KEPT` bytes are kept. Its end
is answered with its end, once all that was written before has arrived. An empty TAG passes
everything on as it comes; any other goes in front of each line.

A process and no thread, for the last words of a rank that aborts or is killed are the ones that
matter. Not the file itself in place of standard error, for on a full disk a print would then end a
run. It imports nothing of this package, so that it starts in an instant.
"""

import collections
import contextlib
import json
import os
import queue
import selectors
import signal
import socket
import sys
import threading
import time

KEPT = 1 << 20  # bytes, until there is a log
_QUEUED = 4096  # chunks that a terminal may be behind
_ORPHAN_S = 3.0  # children of a rank that has gone may hold its output open
_DRAIN_S = 5.0


class Log:
    """The log file, once it is known; a line at a time, the last state of each bar only."""

    def __init__(self) -> None:
        self._file = -1
        self._kept: collections.deque[bytes] = collections.deque()
        self._size = 0
        self._begun: dict[int, bytes] = {}

    def open(self, path: str, heading: str) -> None:
        """Write into a file from now on."""
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
            self._file = os.open(path, flags, 0o666)
            size = os.fstat(self._file).st_size
            if size and os.pread(self._file, 1, size - 1) != b"\n":
                heading = f"\n{heading}"  # a process before was killed in the middle of a line
        except OSError as error:
            os.write(2, f"warning: {path}: {error.strerror}; there is no log\n".encode())
            return
        for line in (f"{heading}\n".encode(), *self._kept):
            self._write(line)
        self._kept.clear()

    def add(self, source: int, chunk: bytes) -> None:
        """Add output of a descriptor."""
        *lines, self._begun[source] = (self._begun.get(source, b"") + chunk).split(b"\n")
        if len(self._begun[source]) > KEPT:
            lines.append(self._begun.pop(source))
        for line in lines:
            self._line(line)

    def _line(self, line: bytes) -> None:
        line = line.rstrip(b"\r").rpartition(b"\r")[2] + b"\n"
        if self._file >= 0:
            self._write(line)
            return
        self._kept.append(line)
        self._size += len(line)
        while self._size > KEPT:
            self._size -= len(self._kept.popleft())

    def _write(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk: the terminal still has it
            os.write(self._file, line)

    def finish(self) -> None:
        """Write lines that have no end yet."""
        for line in self._begun.values():
            if line:
                self._line(line)
        self._begun.clear()


class Terminal:
    """The destination without a relay; what it does not take in time is dropped."""

    def __init__(self, tag: str) -> None:
        self._tag = tag.encode()
        self._begun: dict[int, bytes] = {}
        self._queue: queue.Queue[tuple[int, bytes] | threading.Event] = queue.Queue(_QUEUED)
        threading.Thread(target=self._write, daemon=True).start()

    def add(self, target: int, chunk: bytes) -> None:
        """Pass output on to a descriptor."""
        if self._tag:
            *lines, self._begun[target] = (self._begun.get(target, b"") + chunk).split(b"\n")
            chunk = b"".join(self._tag + line + b"\n" for line in lines)
        if chunk and not self._queue.full():
            self._queue.put((target, chunk))

    def _write(self) -> None:
        while True:
            item = self._queue.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            target, chunk = item
            with contextlib.suppress(OSError):  # nobody looks any more
                while chunk:
                    chunk = chunk[os.write(target, chunk) :]

    def finish(self) -> None:
        """Pass the rest on; wait for a limited time."""
        rest = {target: line for target, line in self._begun.items() if line}
        self._begun.clear()
        done = threading.Event()
        with contextlib.suppress(queue.Full):
            for target, line in rest.items():
                self._queue.put((target, self._tag + line + b"\n"), timeout=_DRAIN_S)
            self._queue.put(done, timeout=_DRAIN_S)
            done.wait(_DRAIN_S)


def forward(control: socket.socket, streams: dict[int, int], tag: str) -> None:
    """Pass on until all streams have ended, or the rank has gone and is silent.

    Args:
        control: the socket that logs are named on.
        streams: the descriptor to write to, by the descriptor to read from.
        tag: text in front of each line; empty: output passes as it comes.
    """
    log, terminal, rank = Log(), Terminal(tag), os.getppid()
    selector = selectors.DefaultSelector()
    for source in (control.fileno(), *streams):
        selector.register(source, selectors.EVENT_READ)
    last_output, orders, ending = time.monotonic(), b"", False
    while streams:
        ready = selector.select(0 if ending else _ORPHAN_S)
        for key, _ in ready:
            chunk = os.read(key.fd, 1 << 16)
            last_output = time.monotonic()
            if not chunk:
                selector.unregister(key.fd)
                streams.pop(key.fd, None)
                ending |= key.fd == control.fileno()
            elif key.fd == control.fileno():
                *whole, orders = (orders + chunk).split(b"\n")
                for order in whole:
                    log.open(*json.loads(order))
            else:
                log.add(key.fd, chunk)
                terminal.add(streams[key.fd], chunk)
        if ending and not ready:
            log.finish()
            terminal.finish()
            control.close()
            ending = False
        if os.getppid() != rank and time.monotonic() - last_output > _ORPHAN_S:
            break
    log.finish()
    terminal.finish()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    control, out, err = map(int, sys.argv[1:4])
    forward(socket.socket(fileno=control), {out: 1, err: 2}, sys.argv[4])
    os._exit(0)
