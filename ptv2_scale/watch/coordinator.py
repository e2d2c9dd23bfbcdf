"""The first rank's part in the watch: it receives from all others, decides, and ends them."""

from __future__ import annotations

import os
import secrets
import selectors
import socket

from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.runtime import heartbeat
from ptv2_scale.runtime.processes import host_identity
from ptv2_scale.watch.connection import Connection, Message
from ptv2_scale.watch.faults import (
    Fault,
    FaultKind,
    Member,
    Membership,
    waits_in_collective,
    with_text,
)
from ptv2_scale.watch.rank_watch import (
    RunEnded,
    broadcast,
    member_of,
    neighbour_stack,
    update_own_state,
)
from ptv2_scale.watch.stacks import own_stack

_ANSWER_S = 4.0  # for a stack that another rank was asked for


class Coordinator:
    """The first rank, which all others are connected to.

    Args:
        membership: what this rank knows of the ranks of the run.
        ranks: where this process stands.
        selector: the watching thread's, where sockets to read from are registered.
    """

    def __init__(
        self, membership: Membership, ranks: RankContext, selector: selectors.BaseSelector
    ) -> None:
        self._members, self._ranks, self._selector = membership, ranks, selector
        self._connections: dict[int, Connection] = {}
        self._asked: float | None = None
        self._stacks: dict[int, str] = {}
        self._last_beat = 0.0
        membership.add(member_of(ranks))
        listener = socket.create_server(("", 0), backlog=ranks.world, family=_family())
        self._token = secrets.token_hex(16)
        own = vars(membership.states[0].member)
        broadcast([listener.getsockname()[1], self._token, own])
        for rank in range(1, ranks.world):
            membership.add(Member(rank))
        selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))

    def _accept(self, listener: socket.socket) -> None:
        connection = Connection(listener.accept()[0])
        self._selector.register(
            connection.socket, selectors.EVENT_READ, lambda: self._read_hello(connection)
        )

    def _read_hello(self, connection: Connection) -> None:
        messages = connection.receive()
        if not messages and not connection.closed:
            return
        self._selector.unregister(connection.socket)
        hello = messages[0] if messages else {}
        rank = hello.get("rank")
        if hello.get("token") != self._token or rank not in self._members.states:
            connection.close()
            return
        self._connections[rank] = connection
        self._members.states[rank].member = Member(**hello["member"])
        self._selector.register(connection.socket, selectors.EVENT_READ, lambda: self._read(rank))
        for message in messages[1:]:
            self._receive(rank, message)

    def _read(self, rank: int) -> None:
        connection = self._connections[rank]
        for message in connection.receive():
            self._receive(rank, message)
        if connection.closed:
            self._selector.unregister(connection.socket)
            connection.close()
            if not self._members.states[rank].ended:
                self._members.mark_ended(rank)
                self._members.report_fault(Fault(FaultKind.DIED, rank))

    def _receive(self, rank: int, message: Message) -> None:
        if "beat" in message:
            self._members.update(rank, message["beat"], message["where"])
        elif "fault" in message:
            self._members.report_fault(Fault(FaultKind(message["fault"]), rank, message["text"]))
        elif "stack" in message:
            self._stacks[message["of"]] = message["stack"]
        elif "left" in message:
            self._members.mark_ended(rank)

    def tick(self, now: float) -> None:
        """See `RankWatch`."""
        self._members.tick(now)
        update_own_state(self._members)
        if now - self._last_beat > self._members.silence / 5:
            self._last_beat = now
            progress = heartbeat.current()
            self._send_all({"beat": progress.count, "where": progress.where})
        if self._asked is not None and not self._members.faults and not self._members.stalled():
            self._asked = None  # they go on: they were slow, and nobody is to blame
        if self._members.stalled() and self._asked is None and not self._members.faults:
            self._asked = now
            self._stacks = {0: own_stack()}
            self._send_all({"show": -1})
        self._find_stalled(now)
        fault = self._members.cause()
        if fault and self._has_stack(fault, now):
            self._end(with_text(fault, fault.text or self._stacks.get(fault.rank, "")))

    def _find_stalled(self, now: float) -> None:
        if self._asked is None or self._members.faults or now - self._asked < _ANSWER_S:
            return
        culprits = [r for r, s in self._stacks.items() if not waits_in_collective(s)]
        rank = min(culprits or self._stacks)
        self._members.report_fault(Fault(FaultKind.STALLED, rank, self._stacks[rank]))

    def _has_stack(self, fault: Fault, now: float) -> bool:
        """Whether the stack of a silent rank has arrived, or cannot be had."""
        if fault.kind is not FaultKind.SILENT or fault.rank in self._stacks:
            return True
        if self._asked is None:
            self._asked = now
            self._ask_for_stack(self._members.states[fault.rank].member)
        return fault.rank in self._stacks or now - self._asked > _ANSWER_S

    def _ask_for_stack(self, member: Member) -> None:
        if member.identity == host_identity():
            self._stacks[member.rank] = neighbour_stack(member)
            return
        for rank, connection in self._connections.items():
            state = self._members.states[rank]
            if state.member.identity == member.identity and not state.ended:
                connection.send({"show": member.rank, "member": vars(member)})
                return

    def _end(self, fault: Fault) -> None:
        text = self._members.describe(fault)
        self._send_all({"end": fault.code})
        raise RunEnded(fault.code, text, text, fault.rank)

    def _send_all(self, message: Message) -> None:
        for connection in self._connections.values():
            connection.send(message)

    def report_fault(self, fault: Fault) -> None:
        """See `RankWatch`."""
        self._members.report_fault(fault)

    def leave(self) -> None:
        """See `RankWatch`."""
        self._send_all({"left": True})


def _family() -> socket.AddressFamily:
    """IPv4 or IPv6, whichever the others will connect by."""
    info = socket.getaddrinfo(os.environ["MASTER_ADDR"], None, type=socket.SOCK_STREAM)
    return socket.AddressFamily(info[0][0])
