"""How ranks meet: all of them, or none, once one has said that it cannot take part.

Where torchrun starts ranks again after a failure, its agent outlives them, and with it the store in
which those of the start that failed have left their addresses. Newer ranks would call these: gloo
fails, NCCL waits. Nor do agents agree on the number of the start: on the host whose rank has failed
it is a restart, to the agents of the others it is a change of members, which they do not count. So
the ranks agree on a name that is new.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from torch.distributed import DistNetworkError
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import register_rendezvous_handler, rendezvous

from ptv2_scale.runtime.exit_codes import FAILED
from ptv2_scale.runtime.rank_env import RankEnv
from ptv2_scale.watch.faults import EVIDENCE_S, FailedElsewhere, Fault, RankLostError

_SCHEME = "ptv2-scale"
_NAME, _HERE = "ptv2-scale/name", "ptv2-scale/here"
_ARRIVED, _FAILED, _HEARD, _BEAT = "arrived", "failed", "heard", "beat"
_POLL_S = 0.05
_BEAT_S = 1.0
_SILENCE_S = 10.0  # of a rank that has arrived, until it counts as lost
_LINGER_S = 20.0  # for ranks that have still to hear why there will be no run

_joined: dict[str, tuple[Store, int, int]] = {}


def join_rendezvous(place: RankEnv, failure: Exception | None, timeout: float) -> str | None:
    """Wait for all ranks, or until one of them says that it has failed.

    Args:
        place: this process's.
        failure: why this rank cannot take part; None: it can.
        timeout: seconds until ranks that do not come raise.

    Returns:
        The URL of the rendezvous for PyTorch; None: its own will do, for there is one rank.

    Raises:
        Exception: `failure`, where this is the lowest rank that has failed.
        FailedElsewhere: another one has failed.
        RankLostError: another one has been killed.
        TimeoutError: some did not come.
    """
    if place.world == 1:
        if failure is not None:
            raise failure
        return None
    until = time.monotonic() + timeout
    rank, world = place.rank, place.world
    # "Of one": PyTorch's store would wait for all where nobody looks who has been killed.
    url = f"env://?rank={rank}&world_size=1"
    store = next(rendezvous(url, timeout=timedelta(seconds=timeout)))[0]
    named = _renamed(store, rank, world, until) if _outlives_ranks() else store
    try:
        roll_call(PrefixStore("roll call", named), rank, world, failure, until)
    except DistNetworkError:
        # The store ends with the first rank, or with an agent that has started it.
        raise (failure or RankLostError(0)) from None
    _joined[_SCHEME] = named, rank, world
    return f"{_SCHEME}://met"


def _outlives_ranks() -> bool:
    """Whether the store is an agent's, which starts ranks again."""
    once = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") == "0"
    return not once and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)


def _renamed(store: Store, rank: int, world: int, until: float) -> Store:
    """The agent's store, under a name that no earlier start has used."""
    name = propose_name(store, world, until) if rank == 0 else adopt_name(store, rank, until)
    return PrefixStore(name, store)


def _take_joined(url: str, **_: Any) -> Iterator[tuple[Store, int, int]]:
    yield _joined.pop(_SCHEME)


register_rendezvous_handler(_SCHEME, _take_joined)


def roll_call(store: Store, rank: int, world: int, failure: Exception | None, until: float) -> None:
    """Say that this rank is there, or has failed, and wait until all are there or one has failed.

    Args:
        store: of these ranks alone.
        rank: this process's.
        world: number of ranks.
        failure: why this rank cannot take part; None: it can.
        until: the time to give up, in seconds of the monotonic clock.

    Raises:
        Exception: `failure`, where this is the lowest rank that has failed.
        FailedElsewhere: another one has failed.
        RankLostError: on the first rank: another one has arrived, and is silent since.
        TimeoutError: some did not come.
    """
    if failure is not None:
        _report(store, rank, Fault.of(rank, failure).code)
    store.add(_ARRIVED, 1)
    arrivals = _Arrivals(store, rank, world)
    _await_arrivals(store, world, until, arrivals)
    if not store.check([_FAILED]):
        return
    first, code = json.loads(store.get(_FAILED))
    store.add(_HEARD, 1)
    if rank == 0:  # with which the store may end
        _linger(store, world - len(arrivals.lost))
    if first in arrivals.lost:  # and cannot say it
        raise RankLostError(first)
    raise failure if failure is not None and first == rank else FailedElsewhere(first, code)


def _report(store: Store, rank: int, code: int) -> None:
    """Say that this rank has failed; of several that have, the lowest is kept."""
    own = json.dumps([rank, code])
    known = store.compare_set(_FAILED, "", own).decode()
    while json.loads(known)[0] > rank:
        known = store.compare_set(_FAILED, known, own).decode()


class _Arrivals:
    """Beats of ranks that have arrived; the first rank looks which have ended."""

    def __init__(self, store: Store, rank: int, world: int) -> None:
        self._store, self._rank, self._count, self._next = store, rank, 0, 0.0
        self._others = range(1, world) if rank == 0 else range(0)
        self._heard: dict[int, tuple[bytes, float]] = {}
        self.lost: set[int] = set()

    def tick(self, now: float) -> None:
        """Say that this rank is alive, and report those that are not any more."""
        if now < self._next:
            return
        if now - self._next > _SILENCE_S / 2:  # this one slept: what it did not hear proves nothing
            self._heard.clear()
        self._next, self._count = now + _BEAT_S, self._count + 1
        self._store.set(f"{_BEAT}/{self._rank}", str(self._count))
        for rank in self._others:
            if self._silent(rank, now) and rank not in self.lost:
                self.lost.add(rank)
                _report(self._store, rank, FAILED)

    def _silent(self, rank: int, now: float) -> bool:
        if not self._store.check([f"{_BEAT}/{rank}"]):  # not there yet
            return False
        beat = self._store.get(f"{_BEAT}/{rank}")
        known, since = self._heard.get(rank, (b"", now))
        if beat != known:
            self._heard[rank] = beat, now
            return False
        return now - since > _SILENCE_S


def _await_arrivals(store: Store, world: int, until: float, arrivals: _Arrivals) -> None:
    """Wait until all ranks are there, or some have failed and others have had time to say so."""
    while store.add(_ARRIVED, 0) < world:
        arrivals.tick(time.monotonic())
        if store.check([_FAILED]):
            until = min(until, time.monotonic() + EVIDENCE_S)
            if time.monotonic() + _POLL_S > until:
                return
        _wait(until, "all ranks to join")


def _linger(store: Store, world: int) -> None:
    until = time.monotonic() + _LINGER_S
    while store.add(_HEARD, 0) < world and time.monotonic() < until:
        time.sleep(_POLL_S)


def propose_name(store: Store, world: int, until: float) -> str:
    """Name this start, and wait until all others know the name.

    Args:
        store: the store of all ranks, perhaps with keys that ranks of earlier starts have left.
        world: number of ranks.
        until: the time to give up, in seconds of the monotonic clock.

    Returns:
        A name that no earlier start has had.

    Raises:
        TimeoutError: some did not come.
    """
    name = secrets.token_hex(8)
    store.set(_NAME, name)
    missing = list(range(1, world))
    while missing:
        for rank in missing:
            if store.check([f"{_HERE}/{rank}"]):
                # Perhaps of one that is no more: then nobody reads it.
                store.set(f"{name}/{store.get(f'{_HERE}/{rank}').decode()}", "")
        missing = [rank for rank in missing if not store.check([f"{name}/{rank}"])]
        if missing:
            _wait(until, f"ranks {', '.join(map(str, missing[:8]))} to join")
    return name


def adopt_name(store: Store, rank: int, until: float) -> str:
    """Learn the name from the first rank of this start, not of an earlier one; see `propose_name`.

    Args:
        store: the store of all ranks.
        rank: this process's rank, not 0.
        until: the time to give up, in seconds of the monotonic clock.

    Returns:
        The name that the first rank has proposed.

    Raises:
        TimeoutError: the first rank did not come.
    """
    own = secrets.token_hex(8)
    store.set(f"{_HERE}/{rank}", own)
    while True:
        if store.check([_NAME]):
            name = store.get(_NAME).decode()
            if store.check([f"{name}/{own}"]):
                store.set(f"{name}/{rank}", "")
                return name
        _wait(until, "the first rank to join")


def _wait(until: float, what: str) -> None:
    if time.monotonic() > until:
        raise TimeoutError(f"waited too long for {what}")
    time.sleep(_POLL_S)
