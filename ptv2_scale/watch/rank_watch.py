"""One rank's part in the watch of a run: what its thread asks of it, and that of a lone rank."""

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
    FaultKind,
    Member,
    Membership,
)
from ptv2_scale.watch.stacks import enable_stack_dump, own_stack, take_stack


class RunEnded(Exception):  # noqa: N818 - no error of this program's
    """The run is over.

    Attributes:
        code: the exit code of every rank.
        text: the message to print; None: another rank prints it.
        status: the reason for `RUN/status.json`; empty: another rank writes it.
        rank: the rank at fault, if one is.
    """

    def __init__(self, code: int, text: str | None, status: str, rank: int | None = None) -> None:
        super().__init__(text)
        self.code, self.text, self.status, self.rank = code, text, status, rank


class RankWatch(Protocol):
    """One rank's connection with the others; used by the watching thread alone."""

    def tick(self, now: float) -> None:
        """Send a heartbeat when one is due, and decide; raises `RunEnded`."""
        ...

    def report_fault(self, fault: Fault) -> None:
        """Report a fault of this rank's own."""
        ...

    def leave(self) -> None:
        """Report that this rank ends as it should."""
        ...


class SingleRank:
    """The part of a run's only rank, which has nobody to report to.

    Args:
        membership: what this rank knows of itself.
        ranks: where this process stands.
    """

    def __init__(self, membership: Membership, ranks: RankContext) -> None:
        self._members = membership
        membership.add(member_of(ranks))

    def tick(self, now: float) -> None:
        """See `RankWatch`."""
        self._members.tick(now)
        update_own_state(self._members)
        if self._members.stalled():
            self.report_fault(Fault(FaultKind.STALLED, 0, own_stack()))
        fault = self._members.cause()
        if fault:
            text = self._members.describe(fault)
            raise RunEnded(fault.code, text, text, fault.rank)

    def report_fault(self, fault: Fault) -> None:
        """See `RankWatch`."""
        self._members.report_fault(fault)

    def leave(self) -> None:
        """See `RankWatch`."""


def member_of(ranks: RankContext) -> Member:
    """This process, as it introduces itself to the other ranks."""
    return Member(ranks.rank, host_name(), os.getpid(), host_identity(), enable_stack_dump())


def neighbour_stack(member: Member) -> str:
    """The stack of another rank of this host, which is killed afterwards."""
    process = Process.here(member.pid)
    return "" if process is None else take_stack(process, member.stack_file)


def update_own_state(membership: Membership) -> None:
    """Count this process, the first rank, among those it has heartbeats of."""
    progress = heartbeat.current()
    membership.update(0, progress.count, progress.where)


def broadcast(values: list[Any]) -> list[Any]:
    """The first rank's values, on every rank; they come from ranks of this run alone."""
    torch.distributed.broadcast_object_list(values, src=0)
    return values
