"""A connection between two ranks that carries one JSON object a line, and never blocks."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

Message = dict[str, Any]

_LONGEST = 1 << 20  # bytes of a line; a stack has some thousands


class Connection:
    """One end of a connection.

    Args:
        connection: a connected socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self.closed = False
        self._received = b""

    def send(self, message: Message) -> None:
        """Send a message; one to a peer that takes nothing any more is dropped."""
        with contextlib.suppress(OSError):  # a peer that is gone is noticed where one reads
            self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[Message]:
        """The messages that have arrived; `closed` is set at the end, or at what is no message."""
        try:
            arrived = self.socket.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError:
            arrived = b""
        *lines, self._received = (self._received + arrived).split(b"\n")
        self.closed = not arrived or len(self._received) > _LONGEST
        try:
            return [dict(json.loads(line)) for line in lines]
        except (ValueError, TypeError):
            self.closed = True
            return []

    def close(self) -> None:
        """End the connection."""
        self.closed = True
        self.socket.close()
