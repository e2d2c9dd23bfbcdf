"""A run that gets no further is ended; one that was only slow is left alone."""

from __future__ import annotations

import pytest

from ptv2_scale.runtime import heartbeat
from ptv2_scale.watch import coordinator as first
from ptv2_scale.watch.coordinator import Coordinator
from ptv2_scale.watch.faults import FaultKind, Member, Membership
from ptv2_scale.watch.rank_watch import RunEnded

STALL = 20.0


class Silent:
    """The connection to a rank that says nothing more."""

    def send(self, message: object) -> None:
        pass


@pytest.fixture
def group() -> Coordinator:
    """Two ranks as the first one sees them; nothing has been heard yet."""
    group = Coordinator.__new__(Coordinator)
    group._members, group._connections = (
        Membership(silence=1e9, stall=STALL, now=0.0),
        {1: Silent()},
    )
    group._stacks, group._asked, group._last_beat = {}, None, 0.0
    for rank in range(2):
        group._members.add(Member(rank))
    return group


def stand_still(group: Coordinator) -> None:
    for now in range(100):
        group.tick(float(now))


def test_a_run_that_stands_still_is_ended(group: Coordinator) -> None:
    group._members.update(1, 1, "a first piece")
    with pytest.raises(RunEnded) as ended:
        stand_still(group)
    assert f"has got no further for {STALL:g} s" in ended.value.text
    assert group._members.faults[0].kind is FaultKind.STALLED
    assert STALL < group._members.now < STALL + first._ANSWER_S + 5


def test_ranks_that_still_open_their_files_are_waited_for(group: Coordinator) -> None:
    heartbeat.reset()
    stand_still(group)
    assert not group._members.faults


def test_a_run_that_goes_on_while_stacks_are_asked_for_is_not_blamed(group: Coordinator) -> None:
    for now in range(100):
        if now % int(STALL + 2) == 0:
            heartbeat.report_progress(f"piece {now}")
        group.tick(float(now))
    assert not group._members.faults
