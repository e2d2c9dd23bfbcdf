"""Which rank is at fault, and what counts as a request: the pure part of the watch."""

from __future__ import annotations

import pytest

from ptv2_scale.runtime import heartbeat
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.watch.faults import (
    EVIDENCE_S,
    Fault,
    FaultKind,
    Member,
    Membership,
    waits_in_collective,
)


def membership_of(world: int, silence: float = 10.0, stall: float = 100.0) -> Membership:
    membership = Membership(silence, stall, 0.0)
    for rank in range(world):
        membership.add(Member(rank, f"host{rank}"))
    return membership


def pass_time(membership: Membership, until: float, alive: dict[int, int]) -> None:
    """Let time pass in small ticks; `alive` ranks are heard of with their count."""
    while membership.now < until:
        for rank, count in alive.items():
            membership.update(rank, count, f"step {count}")
        membership.tick(membership.now + 1.0)


def test_the_cause_is_told_from_what_follows_from_it() -> None:
    membership = membership_of(3)
    membership.report_fault(Fault(FaultKind.RAISED_WAITING, 0, "gloo: connection closed by peer"))
    assert membership.cause() is None, "there may be more to come"
    membership.report_fault(Fault(FaultKind.RAISED_WAITING, 2, "gloo: connection closed by peer"))
    membership.report_fault(Fault(FaultKind.DIED, 1))
    membership.tick(EVIDENCE_S)
    assert membership.cause() == Fault(FaultKind.DIED, 1)
    heartbeat.report_progress("step 3", 2)
    assert membership.describe(Fault(FaultKind.DIED, 1)) == (
        "rank 1 on host1 was killed or crashed, while the others were at step 3."
    )
    heartbeat.reset()


def test_a_silent_rank_is_blamed_and_one_that_has_left_is_not() -> None:
    membership = membership_of(3)
    membership.mark_ended(2)
    pass_time(membership, 9.0, {0: 5})
    assert membership.faults == []
    pass_time(membership, 13.0, {0: 5})
    assert [fault.rank for fault in membership.faults] == [1]
    assert membership.cause() == Fault(FaultKind.SILENT, 1)


def test_who_has_slept_blames_nobody() -> None:
    membership = membership_of(2)
    membership.tick(1.0)
    membership.tick(500.0)
    assert membership.faults == []
    assert not membership.stalled()


def test_a_run_stalls_only_if_no_rank_gets_further() -> None:
    membership = membership_of(2)
    for count in range(300):
        membership.update(0, count, "training a head alone")
        membership.update(1, 7, "waiting for it")
        membership.tick(membership.now + 1.0)
    assert not membership.stalled()
    pass_time(membership, 402.0, {0: 299, 1: 7})
    assert membership.stalled()


def test_opening_files_takes_as_long_as_it_takes() -> None:
    membership = membership_of(2)
    pass_time(membership, 4000.0, {0: 0, 1: 0})
    assert not membership.stalled()
    assert membership.faults == []


def test_kinds_of_exceptions() -> None:
    assert Fault.of(1, UserError("the key is wrong")) == Fault(
        FaultKind.MISTAKE, 1, "the key is wrong"
    )
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 / 0
    fault = Fault.of(2, caught.value)
    assert (fault.kind, fault.code) == (FaultKind.RAISED, 3)
    assert fault.text.endswith("ZeroDivisionError: division by zero")
    assert Fault(FaultKind.MISTAKE, 0, "x").code == 2
    assert waits_in_collective('  File "/lib/torch/distributed/distributed_c10d.py", line 1 in f')
    assert not waits_in_collective('  File "/lib/ptv2_scale/data/collate.py", line 1 in f')
