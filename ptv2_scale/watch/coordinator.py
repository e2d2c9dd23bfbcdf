"""The first rank's end of the watch: it hears of all others, judges, and tells them to end."""

from __future__ import annotations

import os
import secrets
import selectors
import socket

from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.runtime import heartbeat
from ptv2_scale.runtime.processes import host_identity
from ptv2_scale.watch.connection import Link, Message
from ptv2_scale.watch.faults import (
    Fault,
    Kind,
    Member,
    Roll,
    waits_in_collective,
    with_text,
)
from ptv2_scale.watch.group import (
    Verdict,
    hear_self,
    member_of,
    share,
    stack_of,
)
from ptv2_scale.watch.stacks import own_stack

_ANSWER_S = 4.0  # for a stack that another rank was asked for


class First:
    """The first rank, which all others are connected with."""

    def __init__(self, roll: Roll, ranks: RankContext, selector: selectors.BaseSelector) -> None:
        self._roll, self._ranks, self._selector = roll, ranks, selector
        self._links: dict[int, Link] = {}
        self._asked: float | None = None
        self._stacks: dict[int, str] = {}
        self._told = 0.0
        roll.expect(member_of(ranks))
        listener = socket.create_server(("", 0), backlog=ranks.world, family=_family())
        self._token = secrets.token_hex(16)
        own = vars(roll.seen[0].member)
        share([listener.getsockname()[1], self._token, own])
        for rank in range(1, ranks.world):
            roll.expect(Member(rank))
        selector.register(listener, selectors.EVENT_READ, lambda: self._welcome(listener))

    def _welcome(self, listener: socket.socket) -> None:
        link = Link(listener.accept()[0])
        self._selector.register(
            link.socket, selectors.EVENT_READ, lambda: self._read_stranger(link)
        )

    def _read_stranger(self, link: Link) -> None:
        messages = link.receive()
        if not messages and not link.closed:
            return
        self._selector.unregister(link.socket)
        hello = messages[0] if messages else {}
        rank = hello.get("rank")
        if hello.get("token") != self._token or rank not in self._roll.seen:
            link.close()
            return
        self._links[rank] = link
        self._roll.seen[rank].member = Member(**hello["member"])
        self._selector.register(link.socket, selectors.EVENT_READ, lambda: self._read(rank))
        for message in messages[1:]:
            self._take(rank, message)

    def _read(self, rank: int) -> None:
        link = self._links[rank]
        for message in link.receive():
            self._take(rank, message)
        if link.closed:
            self._selector.unregister(link.socket)
            link.close()
            if not self._roll.seen[rank].gone:
                self._roll.left(rank)
                self._roll.blame(Fault(Kind.DIED, rank))

    def _take(self, rank: int, message: Message) -> None:
        if "beat" in message:
            self._roll.heard(rank, message["beat"], message["where"])
        elif "fault" in message:
            self._roll.blame(Fault(Kind(message["fault"]), rank, message["text"]))
        elif "stack" in message:
            self._stacks[message["of"]] = message["stack"]
        elif "left" in message:
            self._roll.left(rank)

    def tick(self, now: float) -> None:
        """See `Group`."""
        self._roll.tick(now)
        hear_self(self._roll)
        if now - self._told > self._roll.silence / 5:
            self._told = now
            here = heartbeat.current()
            self._tell_all({"beat": here.count, "where": here.where})
        if self._asked is not None and not self._roll.faults and not self._roll.stalled():
            self._asked = None  # they go on: they were slow, and nobody is to blame
        if self._roll.stalled() and self._asked is None and not self._roll.faults:
            self._asked = now
            self._stacks = {0: own_stack()}
            self._tell_all({"show": -1})
        self._judge_stall(now)
        fault = self._roll.verdict()
        if fault and self._has_stack(fault, now):
            self._end(with_text(fault, fault.text or self._stacks.get(fault.rank, "")))

    def _judge_stall(self, now: float) -> None:
        if self._asked is None or self._roll.faults or now - self._asked < _ANSWER_S:
            return
        culprits = [r for r, s in self._stacks.items() if not waits_in_collective(s)]
        rank = min(culprits or self._stacks)
        self._roll.blame(Fault(Kind.STALLED, rank, self._stacks[rank]))

    def _has_stack(self, fault: Fault, now: float) -> bool:
        """Whether the stack of a rank that is silent has been had, or cannot be."""
        if fault.kind is not Kind.SILENT or fault.rank in self._stacks:
            return True
        if self._asked is None:
            self._asked = now
            self._ask_for_stack(self._roll.seen[fault.rank].member)
        return fault.rank in self._stacks or now - self._asked > _ANSWER_S

    def _ask_for_stack(self, member: Member) -> None:
        if member.identity == host_identity():
            self._stacks[member.rank] = stack_of(member)
            return
        for rank, link in self._links.items():
            seen = self._roll.seen[rank]
            if seen.member.identity == member.identity and not seen.gone:
                link.send({"show": member.rank, "member": vars(member)})
                return

    def _end(self, fault: Fault) -> None:
        text = self._roll.describe(fault)
        self._tell_all({"end": fault.code})
        raise Verdict(fault.code, text, text, fault.rank)

    def _tell_all(self, message: Message) -> None:
        for link in self._links.values():
            link.send(message)

    def blame(self, fault: Fault) -> None:
        """See `Group`."""
        self._roll.blame(fault)

    def leave(self) -> None:
        """See `Group`."""
        self._tell_all({"left": True})


def _family() -> socket.AddressFamily:
    """IPv4 or IPv6, as the others will call."""
    info = socket.getaddrinfo(os.environ["MASTER_ADDR"], None, type=socket.SOCK_STREAM)
    return socket.AddressFamily(info[0][0])
