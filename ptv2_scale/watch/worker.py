"""Any other rank's part in the watch: it reports to the first rank, and notices its loss."""

from __future__ import annotations

import os
import selectors
import socket

from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.runtime import heartbeat
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.launch_context import host_name
from ptv2_scale.runtime.processes import host_identity
from ptv2_scale.watch.connection import Connection, Message
from ptv2_scale.watch.faults import Fault, FaultKind, Member, Membership, with_text
from ptv2_scale.watch.rank_watch import RunEnded, broadcast, member_of, neighbour_stack
from ptv2_scale.watch.stacks import own_stack

_CONNECT_S = 30.0


class Worker:
    """Any rank but the first.

    Args:
        membership: what this rank knows of the ranks of the run.
        ranks: where this process stands.
        selector: the watching thread's, where sockets to read from are registered.

    Raises:
        UserError: the first rank cannot be reached.
    """

    def __init__(
        self, membership: Membership, ranks: RankContext, selector: selectors.BaseSelector
    ) -> None:
        self._members, self._ranks, self._selector = membership, ranks, selector
        self._last_beat = 0.0
        port, token, first = broadcast([None, None, None])
        address = os.environ["MASTER_ADDR"]
        try:
            self._connection = Connection(
                socket.create_connection((address, port), timeout=_CONNECT_S)
            )
        except OSError as error:
            raise UserError(
                f"{host_name()}: the first rank cannot be reached at {address}:{port}"
                f" ({error}). Ranks watch each other over TCP: let the hosts of a run reach each"
                " other on any port."
            ) from None
        own = member_of(ranks)
        self._connection.send({"rank": ranks.rank, "token": token, "member": vars(own)})
        membership.add(Member(**first))
        selector.register(self._connection.socket, selectors.EVENT_READ, self._read)

    def _read(self) -> None:
        for message in self._connection.receive():
            self._receive(message)
        if self._connection.closed:
            self._selector.unregister(self._connection.socket)
            if not self._members.states[0].ended:
                self._members.mark_ended(0)
                self._members.report_fault(Fault(FaultKind.DIED, 0))

    def _receive(self, message: Message) -> None:
        if "beat" in message:
            self._members.update(0, message["beat"], message["where"])
        if "end" in message:
            raise RunEnded(message["end"], None, "")
        if message.get("left"):
            self._members.mark_ended(0)
        if "show" in message:
            rank = message["show"]
            own = rank < 0
            stack = own_stack() if own else neighbour_stack(Member(**message["member"]))
            self._connection.send({"stack": stack, "of": self._ranks.rank if own else rank})

    def tick(self, now: float) -> None:
        """See `RankWatch`."""
        self._members.tick(now)
        if now - self._last_beat > self._members.silence / 5:
            self._last_beat = now
            self._send_heartbeat()
        fault = self._members.cause()
        # A fault of its own is the first rank's to judge, unless that one is lost as well.
        if fault and any(one.rank == 0 for one in self._members.faults):
            self._end_without_coordinator(fault)

    def _send_heartbeat(self) -> None:
        progress = heartbeat.current()
        self._connection.send({"beat": progress.count, "where": progress.where})

    def _end_without_coordinator(self, fault: Fault) -> None:
        first = self._members.states[0].member
        same_host = first.identity == host_identity()
        if fault.kind is FaultKind.SILENT and same_host and self._speaks(same_host):
            fault = with_text(fault, neighbour_stack(first))
        text = self._members.describe(fault)
        spoken = text if self._speaks(same_host) else None
        raise RunEnded(fault.code, spoken, text, fault.rank)

    def _speaks(self, same_host: bool) -> bool:
        # Nobody can agree any more: one rank a host says it.
        return self._ranks.local == (1 if same_host else 0)

    def report_fault(self, fault: Fault) -> None:
        """See `RankWatch`."""
        self._send_heartbeat()
        self._connection.send({"fault": int(fault.kind), "text": fault.text})
        self._members.report_fault(fault)

    def leave(self) -> None:
        """See `RankWatch`."""
        self._connection.send({"left": True})
