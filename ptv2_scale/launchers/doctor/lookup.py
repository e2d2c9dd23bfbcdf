"""How long this host takes to find a name for another one's address.

Each rank asks for that once, as PyTorch connects it to the first rank; where no name server answers
it waits for half a minute, whatever the answer is good for (c10d's socket.cpp, `getnameinfo`).
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

SLOW_S = 2.0


class Lookup:
    """A look-up that goes on by itself.

    Args:
        address: to find a name for.
    """

    def __init__(self, address: str) -> None:
        self._began = time.monotonic()
        self._took: float | None = None
        self._thread = threading.Thread(target=self._look_up, args=(address,), daemon=True)
        self._thread.start()

    def _look_up(self, address: str) -> None:
        with contextlib.suppress(OSError):  # a host without a name is none the worse
            socket.getnameinfo((address, 0), socket.NI_NUMERICSERV)
        self._took = time.monotonic() - self._began

    def seconds(self) -> float:
        """How long it took; how long it has taken so far, where it is slow."""
        self._thread.join(max(0.0, self._began + SLOW_S - time.monotonic()))
        return time.monotonic() - self._began if self._took is None else self._took
