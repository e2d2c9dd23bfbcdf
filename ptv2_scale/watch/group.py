"""One rank's part in the watch of a run: what its thread asks of it, and a run of one rank."""

from __future__ import annotations

import os
from typing import Any, Protocol

import torch.distributed

from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.runtime import heartbeat
from ptv2_scale.runtime.launch_context import host_name
from ptv2_scale.runtime.processes import Process, host_identity
from ptv2_scale.watch.faults import (
    Fault,
    Kind,
    Member,
    Roll,
)
from ptv2_scale.watch.stacks import arm, own_stack, take_stack


class Verdict(Exception):  # noqa: N818 - no error of this program's
    """The run is over.

    Attributes:
        code: exit code of every rank.
        text: what to print; None: another rank prints it.
        status: reason for `RUN/status.json`; empty: another rank writes it.
        rank: that is at fault, if one is.
    """

    def __init__(self, code: int, text: str | None, status: str, rank: int | None = None) -> None:
        super().__init__(text)
        self.code, self.text, self.status, self.rank = code, text, status, rank


class Group(Protocol):
    """One rank's connection with the others; used by the watching thread alone."""

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

    def __init__(self, roll: Roll, ranks: RankContext) -> None:
        self._roll = roll
        roll.expect(member_of(ranks))

    def tick(self, now: float) -> None:
        """See `Group`."""
        self._roll.tick(now)
        hear_self(self._roll)
        if self._roll.stalled():
            self.blame(Fault(Kind.STALLED, 0, own_stack()))
        fault = self._roll.verdict()
        if fault:
            text = self._roll.describe(fault)
            raise Verdict(fault.code, text, text, fault.rank)

    def blame(self, fault: Fault) -> None:
        """See `Group`."""
        self._roll.blame(fault)

    def leave(self) -> None:
        """See `Group`."""


def member_of(ranks: RankContext) -> Member:
    """This process, as the other ranks are told of it."""
    return Member(ranks.rank, host_name(), os.getpid(), host_identity(), arm())


def stack_of(member: Member) -> str:
    """The stack of another rank of this host, which is killed afterwards."""
    process = Process.here(member.pid)
    return "" if process is None else take_stack(process, member.stack_file)


def hear_self(roll: Roll) -> None:
    """Have the first rank count among those it hears of."""
    here = heartbeat.current()
    roll.heard(0, here.count, here.where)


def share(values: list[Any]) -> list[Any]:
    """The first rank's values, on every rank; they come from ranks of this run alone."""
    torch.distributed.broadcast_object_list(values, src=0)
    return values
