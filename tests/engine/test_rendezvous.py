"""Ranks that are started again agree on a name that is new, whatever the store still holds."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore

from ptv2_scale.engine.rendezvous import adopt_name, propose_name


def start(store: HashStore, world: int, late: int) -> set[str]:
    """The names that the ranks of one start come to; one of them begins after all others."""
    until = time.monotonic() + 60

    def join(rank: int) -> str:
        time.sleep(0.2 * (rank == late))
        return propose_name(store, world, until) if rank == 0 else adopt_name(store, rank, until)

    with ThreadPoolExecutor(world) as pool:
        return set(pool.map(join, range(world)))


@pytest.mark.parametrize("late", [0, 1, 2])
def test_each_start_has_a_name_of_its_own(late: int) -> None:
    store = HashStore()
    names = [start(store, world, late) for world in (3, 3, 4, 1, 3)]
    assert [len(found) for found in names] == [1] * 5
    assert len(set.union(*names)) == 5


@pytest.mark.parametrize("late", [0, 1])
def test_ranks_that_died_while_they_met_are_not_met(late: int) -> None:
    store, soon = HashStore(), time.monotonic() + 0.2
    with pytest.raises(TimeoutError, match="ranks 1, 2"):
        propose_name(store, 3, soon)
    with pytest.raises(TimeoutError, match="the first rank"):
        adopt_name(store, 1, time.monotonic() + 0.2)
    assert len(start(store, 3, late)) == 1
