"""How ranks meet where torchrun starts them again after a failure.

Its agent outlives them, and with it the store in which ranks of the start that failed have left
their addresses. Newer ranks would call those: gloo fails, NCCL waits. Nor do agents agree on the
number of the start: on the host whose rank has failed it is a restart, to the agents of the others
it is a change of members, which they do not count. So the ranks agree on a name that is new.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import register_rendezvous_handler, rendezvous

_SCHEME = "ptv2-scale"
_NAME, _HERE = "ptv2-scale/name", "ptv2-scale/here"
_POLL_S = 0.05


def init_method() -> str | None:
    """The URL of this process's rendezvous with the others; None: PyTorch's own will do."""
    once = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") == "0"
    if once or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True):
        return None
    register_rendezvous_handler(_SCHEME, _renamed_store)
    return f"{_SCHEME}://agents-store"


def _renamed_store(url: str, timeout: timedelta, **_: Any) -> Iterator[tuple[Store, int, int]]:
    """The agent's store, under a name that no earlier start has used."""
    for store, rank, world in rendezvous("env://", timeout=timeout):
        until = time.monotonic() + timeout.total_seconds()
        name = propose_name(store, world, until) if rank == 0 else adopt_name(store, rank, until)
        yield PrefixStore(name, store), rank, world


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
