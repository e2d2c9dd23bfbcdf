"""Messages between ranks, whole or not at all."""

from __future__ import annotations

import socket

from ptv2_scale.watch.connection import Connection


def test_a_link_carries_whole_messages_and_survives_rubbish() -> None:
    left, right = map(Connection, socket.socketpair())
    left.send({"beat": 1, "where": "step\n1"})
    left.socket.sendall(b'{"beat"')
    assert right.receive() == [{"beat": 1, "where": "step\n1"}]
    left.socket.sendall(b": 2}\n")
    assert right.receive() == [{"beat": 2}]
    assert not right.closed
    assert right.receive() == []
    left.socket.sendall(b"\xff\xfe\n")
    assert right.receive() == []
    assert right.closed
    left.close()
