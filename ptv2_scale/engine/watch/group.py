"""What ranks tell each other: the first rank's end of it, and every other rank's."""

from __future__ import annotations

import os
import secrets
import selectors
import socket
from typing import Any, Protocol

import torch.distributed

from ptv2_scale.engine.ranks import Ranks
from ptv2_scale.engine.watch import whereabouts
from ptv2_scale.engine.watch.faults import (
    Fault,
    Kind,
    Member,
    Roll,
    waits_in_collective,
    with_text,
)
from ptv2_scale.engine.watch.link import Link, Message
from ptv2_scale.engine.watch.stacks import arm, own_stack, take_stack
from ptv2_scale.errors import UserError
from ptv2_scale.processes import Process, host_identity

_ANSWER_S = 4.0  # for a stack that another rank was asked for
_CONNECT_S = 30.0


class Verdict(Exception):  # noqa: N818 - no error of this program's
    """The run is over.

    Attributes:
        code: exit code of every rank.
        text: what to print; None: another rank prints it.
    """

    def __init__(self, code: int, text: str | None, status: str) -> None:
        super().__init__(text)
        self.code, self.text, self.status = code, text, status


class Group(Protocol):
    """One rank's connection with the others; used by the watching thread alone, but for `blame`."""

    def tick(self, now: float) -> None:
        """Tell the others that this rank lives, and judge; raises `Verdict`."""
        ...

    def blame(self, fault: Fault) -> None:
        """Tell of a fault of this rank's own."""
        ...

    def leave(self) -> None:
        """Say that this rank ends as it should."""
        ...


class Alone:
    """A run of one rank: nobody to tell, nobody to wait for."""

    def __init__(self, roll: Roll, ranks: Ranks) -> None:
        self._roll = roll
        roll.expect(member_of(ranks))

    def tick(self, now: float) -> None:
        """See `Group`."""
        self._roll.tick(now)
        _hear_self(self._roll)
        if self._roll.stalled():
            self.blame(Fault(Kind.STALLED, 0, own_stack()))
        fault = self._roll.verdict()
        if fault:
            _judge(self._roll, fault)

    def blame(self, fault: Fault) -> None:
        """See `Group`."""
        self._roll.blame(fault)

    def leave(self) -> None:
        """See `Group`."""


class First:
    """The first rank, which all others are connected with."""

    def __init__(self, roll: Roll, ranks: Ranks, selector: selectors.BaseSelector) -> None:
        self._roll, self._ranks, self._selector = roll, ranks, selector
        self._links: dict[int, Link] = {}
        self._asked: float | None = None
        self._stacks: dict[int, str] = {}
        self._told = 0.0
        roll.expect(member_of(ranks))
        listener = socket.create_server(("", 0), backlog=ranks.world, family=_family())
        self._token = secrets.token_hex(16)
        own = vars(roll.seen[0].member)
        _share([listener.getsockname()[1], self._token, own])
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
        _hear_self(self._roll)
        if now - self._told > self._roll.silence / 5:
            self._told = now
            here = whereabouts.current()
            self._tell_all({"beat": here.count, "where": here.where})
        if self._roll.stalled() and self._asked is None and not self._roll.faults:
            self._asked = now
            self._stacks[0] = own_stack()
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
        raise Verdict(fault.code, text, text)

    def _tell_all(self, message: Message) -> None:
        for link in self._links.values():
            link.send(message)

    def blame(self, fault: Fault) -> None:
        """See `Group`."""
        self._roll.blame(fault)

    def leave(self) -> None:
        """See `Group`."""
        self._tell_all({"left": True})


class Other:
    """Any rank but the first."""

    def __init__(self, roll: Roll, ranks: Ranks, selector: selectors.BaseSelector) -> None:
        self._roll, self._ranks, self._selector = roll, ranks, selector
        self._told = 0.0
        port, token, first = _share([None, None, None])
        address = os.environ["MASTER_ADDR"]
        try:
            self._link = Link(socket.create_connection((address, port), timeout=_CONNECT_S))
        except OSError as error:
            raise UserError(
                f"{os.uname().nodename}: the first rank cannot be reached at {address}:{port}"
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
        here = whereabouts.current()
        self._link.send({"beat": here.count, "where": here.where})

    def _end_without_first(self, fault: Fault) -> None:
        first = self._roll.seen[0].member
        same_host = first.identity == host_identity()
        if fault.kind is Kind.SILENT and same_host and self._speaks(same_host):
            fault = with_text(fault, stack_of(first))
        text = self._roll.describe(fault)
        raise Verdict(fault.code, text if self._speaks(same_host) else None, text)

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


def member_of(ranks: Ranks) -> Member:
    """This process, as the other ranks are told of it."""
    return Member(ranks.rank, os.uname().nodename, os.getpid(), host_identity(), arm())


def stack_of(member: Member) -> str:
    """The stack of another rank of this host, which is killed afterwards."""
    process = Process.here(member.pid)
    return "" if process is None else take_stack(process, member.stack_file)


def _hear_self(roll: Roll) -> None:
    here = whereabouts.current()
    roll.heard(0, here.count, here.where)


def _judge(roll: Roll, fault: Fault) -> None:
    text = roll.describe(fault)
    raise Verdict(fault.code, text, text)


def _family() -> socket.AddressFamily:
    info = socket.getaddrinfo(os.environ["MASTER_ADDR"], None, type=socket.SOCK_STREAM)
    return socket.AddressFamily(info[0][0])


def _share(values: list[Any]) -> list[Any]:
    torch.distributed.broadcast_object_list(values, src=0)
    return values
