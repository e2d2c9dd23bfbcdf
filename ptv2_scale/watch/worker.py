"""Any other rank's end of the watch: it tells the first rank of itself, and notices its loss."""

from __future__ import annotations

import os
import selectors
import socket

from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.runtime import heartbeat
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.launch_context import host_name
from ptv2_scale.runtime.processes import host_identity
from ptv2_scale.watch.connection import Link, Message
from ptv2_scale.watch.faults import Fault, Kind, Member, Roll, with_text
from ptv2_scale.watch.group import Verdict, member_of, share, stack_of
from ptv2_scale.watch.stacks import own_stack

_CONNECT_S = 30.0


class Other:
    """Any rank but the first."""

    def __init__(self, roll: Roll, ranks: RankContext, selector: selectors.BaseSelector) -> None:
        self._roll, self._ranks, self._selector = roll, ranks, selector
        self._told = 0.0
        port, token, first = share([None, None, None])
        address = os.environ["MASTER_ADDR"]
        try:
            self._link = Link(socket.create_connection((address, port), timeout=_CONNECT_S))
        except OSError as error:
            raise UserError(
                f"{host_name()}: the first rank cannot be reached at {address}:{port}"
                f" ({error}). Ranks watch each other over TCP: let the hosts of a run reach each"
                " other on any port."
            ) from None
        own = member_of(ranks)
        self._link.send({"rank": ranks.rank, "token": token, "member": vars(own)})
        roll.expect(Member(**first))
        selector.register(self._link.socket, selectors.EVENT_READ, self._read)

    def _read(self) -> None:
        for message in self._link.receive():
            self._take(message)
        if self._link.closed:
            self._selector.unregister(self._link.socket)
            if not self._roll.seen[0].gone:
                self._roll.left(0)
                self._roll.blame(Fault(Kind.DIED, 0))

    def _take(self, message: Message) -> None:
        if "beat" in message:
            self._roll.heard(0, message["beat"], message["where"])
        if "end" in message:
            raise Verdict(message["end"], None, "")
        if message.get("left"):
            self._roll.left(0)
        if "show" in message:
            rank = message["show"]
            own = rank < 0
            stack = own_stack() if own else stack_of(Member(**message["member"]))
            self._link.send({"stack": stack, "of": self._ranks.rank if own else rank})

    def tick(self, now: float) -> None:
        """See `Group`."""
        self._roll.tick(now)
        if now - self._told > self._roll.silence / 5:
            self._told = now
            self._beat()
        fault = self._roll.verdict()
        # A fault of its own is the first rank's to judge, unless that one is lost as well.
        if fault and any(one.rank == 0 for one in self._roll.faults):
            self._end_without_first(fault)

    def _beat(self) -> None:
        here = heartbeat.current()
        self._link.send({"beat": here.count, "where": here.where})

    def _end_without_first(self, fault: Fault) -> None:
        first = self._roll.seen[0].member
        same_host = first.identity == host_identity()
        if fault.kind is Kind.SILENT and same_host and self._speaks(same_host):
            fault = with_text(fault, stack_of(first))
        text = self._roll.describe(fault)
        spoken = text if self._speaks(same_host) else None
        raise Verdict(fault.code, spoken, text, fault.rank)

    def _speaks(self, same_host: bool) -> bool:
        # Nobody can agree any more: one rank a host says it.
        return self._ranks.local == (1 if same_host else 0)

    def blame(self, fault: Fault) -> None:
        """See `Group`."""
        self._beat()
        self._link.send({"fault": int(fault.kind), "text": fault.text})
        self._roll.blame(fault)

    def leave(self) -> None:
        """See `Group`."""
        self._link.send({"left": True})
