"""A host visits all others, as ranks would: who can be reached, how fast, and by what clock.

Every host opens a door and calls at every other's. Hosts of one meeting know each other by a token,
so that a stranger who listens at the same port is not taken for one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from ptv2_scale.launchers.doctor.facts import Meeting, Met, Peer
from ptv2_scale.launchers.doctor.lookup import Lookup
from ptv2_scale.launchers.doctor.probe_server import Door, Line, call
from ptv2_scale.runtime.launch_context import host_name
from ptv2_scale.runtime.shared_fs_probe import marked, nearest_folder

_AT_ONCE = 64


@dataclass(frozen=True)
class _Called:
    """What came of calling at another host's door.

    Attributes:
        host: the other one.
        problem: why nobody answered; then neither clock nor bandwidth count.
        ahead: seconds that its clock is ahead.
        bandwidth: bytes a second, where it was measured.
        sees_mark: whether this host sees the other's mark.
    """

    host: str
    sees_mark: bool
    problem: str = ""
    ahead: float = 0.0
    bandwidth: float | None = None


def meet(meeting: Meeting) -> Met:
    """Take part in a meeting."""
    own = next(peer for peer in meeting.peers if peer.host == host_name())
    with ExitStack() as stack:
        if meeting.run is not None:
            with suppress(OSError):  # `look` has told of it
                stack.enter_context(marked(_mark(meeting, own.host)))
        door = stack.enter_context(closing(Door(meeting, own)))
        lookup = Lookup(next((one.address for one in meeting.peers if one != own), own.address))
        no_meeting_place = door.problem or _try_meeting_place(meeting, own)
        called = _call_all(meeting, own)
        marks = {one.host for one in called if one.sees_mark}
        marks |= {own.host} if _sees_mark(meeting, own.host) else set()
        door.wait_for_all()
    return Met(
        unreached={one.host: one.problem for one in called if one.problem},
        no_meeting_place=no_meeting_place,
        clock={one.host: one.ahead for one in called if not one.problem},
        bandwidth=next((one.bandwidth for one in called if one.bandwidth is not None), None),
        lookup=lookup.seconds(),
        marks=sorted(marks),
    )


def _mark(meeting: Meeting, host: str) -> Path:
    return nearest_folder(Path(meeting.run or ".")) / f"{meeting.mark}.{host}"


def _sees_mark(meeting: Meeting, host: str) -> bool:
    # Not Path.exists, which raises where a folder may not be read.
    return meeting.run is not None and os.path.exists(_mark(meeting, host))


def _try_meeting_place(meeting: Meeting, own: Peer) -> str:
    """Why ranks of this host would not find the first one; empty: they would."""
    first = meeting.peers[0]
    if own == first:
        return ""
    try:
        with call(meeting, meeting.master, first.port):
            return ""
    except OSError as error:
        return str(error)


def _call_all(meeting: Meeting, own: Peer) -> Sequence[_Called]:
    others = [peer for peer in meeting.peers if peer != own]
    if not others:
        return []
    following = meeting.peers[(meeting.peers.index(own) + 1) % len(meeting.peers)]
    with ThreadPoolExecutor(min(len(others), _AT_ONCE)) as pool:
        return list(pool.map(lambda peer: _call(meeting, peer, peer == following), others))


def _call(meeting: Meeting, peer: Peer, measured: bool) -> _Called:
    try:
        with call(meeting, peer.address, peer.port) as line:
            ahead = line.clock()
            bandwidth = _stream(line, meeting.stream) if measured else None
            # A mark is there for so long as its host is not left by all.
            sees_mark = _sees_mark(meeting, peer.host)
            line.leave()
        return _Called(peer.host, sees_mark, "", ahead, bandwidth)
    except OSError as error:
        return _Called(peer.host, _sees_mark(meeting, peer.host), str(error))


def _stream(line: Line, seconds: float) -> float:
    began = time.perf_counter()
    count = line.stream(began + seconds)
    return count / (time.perf_counter() - began)
