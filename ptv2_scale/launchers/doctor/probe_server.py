"""What hosts of a network probe say to each other over TCP: a command of one byte, its answer."""

from __future__ import annotations

import hmac
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ptv2_scale.launchers.doctor.facts import NetworkProbe, Peer

_CLOCK, _STREAM, _LEAVE = b"c", b"s", b"l"
_TIME, _COUNT = struct.Struct("!d"), struct.Struct("!Q")
_READINGS = 7  # of a clock; the one that took least counts
_CHUNK = 1 << 20
_ONE_TRY_S = 3.0
_AGAIN_S = 0.1
_ANSWER_S = 10.0
_BACKLOG = 4096


class ProbeServer:
    """A server that the other hosts of a probe connect to.

    The first host's is at all of its addresses, as the place where ranks meet will be; the others'
    at the address of their interface alone.

    Attributes:
        problem: why it could not be started; empty: it listens.
    """

    def __init__(self, probe: NetworkProbe, own: Peer) -> None:
        self._probe = probe
        self._left = 0
        self._change = threading.Condition()
        self._socket: socket.socket | None = None
        self.problem = ""
        try:
            self._socket = _listen("" if own == probe.peers[0] else own.address, own.port)
        except OSError as error:
            self.problem = f"port {own.port} cannot be had there: {os.strerror(error.errno or 0)}"
            return
        threading.Thread(target=self._answer_all, args=(self._socket,), daemon=True).start()

    def _answer_all(self, server: socket.socket) -> None:
        with suppress(OSError):  # closed
            while True:
                caller, _ = server.accept()
                threading.Thread(target=self._answer, args=(caller,), daemon=True).start()

    def _answer(self, caller: socket.socket) -> None:
        with caller, suppress(OSError):
            caller.settimeout(_ANSWER_S)
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            token = self._probe.token.encode()
            if not hmac.compare_digest(_receive(caller, len(token)), token):
                return
            caller.sendall(token[::-1])
            while (command := caller.recv(1)) in (_CLOCK, _STREAM):
                if command == _CLOCK:
                    caller.sendall(_TIME.pack(time.time()))
                else:
                    caller.sendall(_COUNT.pack(_swallow(caller)))
            if command == _LEAVE:
                with self._change:
                    self._left += 1
                    self._change.notify_all()

    def wait_for_all(self) -> None:
        """Wait until all others have connected and left, or the probe's patience is over."""
        if self._socket is None:
            return
        others = len(self._probe.peers) - 1
        with self._change:
            self._change.wait_for(lambda: self._left >= others, self._probe.patience)

    def close(self) -> None:
        """Answer nobody any more."""
        if self._socket is not None:
            self._socket.close()


def _listen(address: str, port: int) -> socket.socket:
    if not address and socket.has_dualstack_ipv6():
        return socket.create_server(
            ("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True
        )
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=_BACKLOG)


class ProbeConnection:
    """A connection to another host's server."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def clock(self) -> float:
        """Seconds that the other's clock is ahead, to half of the fastest answer's time."""
        readings = []
        for _ in range(_READINGS):
            asked, began = time.time(), time.perf_counter()
            self._connection.sendall(_CLOCK)
            (there,) = _TIME.unpack(_receive(self._connection, _TIME.size))
            took = time.perf_counter() - began
            readings.append((took, there - asked - took / 2))
        return float(min(readings)[1])

    def stream(self, until: float) -> int:
        """Send until `time.perf_counter()` says so; bytes that have arrived there."""
        chunk = bytes(_CHUNK)
        self._connection.sendall(_STREAM)
        while time.perf_counter() < until:
            self._connection.sendall(_COUNT.pack(_CHUNK) + chunk)
        self._connection.sendall(_COUNT.pack(0))
        (count,) = _COUNT.unpack(_receive(self._connection, _COUNT.size))
        return int(count)

    def leave(self) -> None:
        """Say that nothing more is wanted."""
        self._connection.sendall(_LEAVE)


@contextmanager
def connect(probe: NetworkProbe, address: str, port: int) -> Iterator[ProbeConnection]:
    """A connection to a host's server, which may start later.

    Args:
        probe: the probe that both hosts are of.
        address: address of the other's server.
        port: port of the other's server.

    Raises:
        OSError: nobody of this probe answers; says why.
    """
    until = time.monotonic() + probe.patience
    while True:
        try:
            connection = socket.create_connection((address, port), _ONE_TRY_S)
            break
        except socket.gaierror as error:
            raise OSError(f"the name '{address}' is not known there ({error.strerror})") from None
        except OSError as error:
            if time.monotonic() > until:
                reason = "no answer" if isinstance(error, TimeoutError) else error.strerror
                raise OSError(f"{address} port {port}: {reason}") from None
        time.sleep(_AGAIN_S)
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _introduce(connection, probe, f"{address} port {port}")
        connection.settimeout(_ANSWER_S)
        yield ProbeConnection(connection)


def _introduce(connection: socket.socket, probe: NetworkProbe, place: str) -> None:
    token = probe.token.encode()
    connection.sendall(token)
    try:
        known = _receive(connection, len(token)) == token[::-1]
    except OSError:
        known = False
    if not known:
        raise OSError(f"{place}: something else answers there")


def _swallow(caller: socket.socket) -> int:
    count, buffer = 0, bytearray(_CHUNK)
    while (chunk := _COUNT.unpack(_receive(caller, _COUNT.size))[0]) > 0:
        left = min(int(chunk), _CHUNK)
        count += left
        while left:
            got = caller.recv_into(buffer, left)
            if not got:
                raise _gone()
            left -= got
    return count


def _receive(connection: socket.socket, size: int) -> bytes:
    """Exactly so many bytes.

    Raises:
        OSError: the other one has gone.
    """
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise _gone()
        parts += part
    return bytes(parts)


def _gone() -> OSError:
    return ConnectionAbortedError("the other host has gone in the middle")
