"""Ranks that are started again agree on a name that is new, whatever the store still holds."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import ranks
from points import EVERYTHING
from tiny import write_recipe
from torch.distributed import HashStore, TCPStore

from ptv2_scale.engine import rendezvous
from ptv2_scale.engine.rendezvous import _Arrivals, adopt_name, propose_name, roll_call
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.watch.faults import FailedElsewhere


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


def call_all(failures: dict[int, Exception], world: int) -> dict[int, Exception | None]:
    """What the roll call of some ranks raises on each."""
    store, until = HashStore(), time.monotonic() + 60

    def call(rank: int) -> Exception | None:
        time.sleep(0.1 * (world - rank))
        try:
            roll_call(store, rank, world, failures.get(rank), until)
        except Exception as error:
            return error
        return None

    with ThreadPoolExecutor(world) as pool:
        return dict(enumerate(pool.map(call, range(world))))


def test_all_ranks_meet() -> None:
    assert call_all({}, 4) == dict.fromkeys(range(4))


@pytest.mark.parametrize("failing", [{0}, {2}, {3}, {0, 1}, {0, 1, 2, 3}], ids=str)
@pytest.mark.parametrize(("kind", "code"), [(UserError, 2), (OSError, 3)])
def test_the_lowest_rank_that_fails_raises_and_all_others_hear_of_it(
    failing: set[int], kind: type[Exception], code: int
) -> None:
    failures = {rank: kind(f"of rank {rank}") for rank in failing}
    found = call_all(failures, 4)
    own = [rank for rank, error in found.items() if error is failures.get(rank)]
    assert own == [min(failing)]
    others = [error for rank, error in found.items() if rank not in own]
    assert all(isinstance(error, FailedElsewhere) and error.code == code for error in others)


def test_a_rank_that_never_comes_is_waited_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "_LINGER_S", 0.1)
    with pytest.raises(TimeoutError, match="all ranks to join"):
        roll_call(HashStore(), 0, 2, None, time.monotonic() + 0.2)
    with pytest.raises(UserError, match="mine"):
        roll_call(HashStore(), 0, 2, UserError("mine"), time.monotonic() + 0.2)


@pytest.mark.skipif(not EVERYTHING, reason="the first rank stays half a minute for late ranks")
def test_a_rank_that_is_killed_while_others_are_awaited(tmp_path: Path) -> None:
    """By the command line: three ranks, of which one has not been started yet."""
    port, recipe = ranks.free_port(), str(write_recipe(tmp_path))
    train = ("-m", "ptv2_scale", "train", recipe)
    first, second = (ranks.begin(train, ranks.environment(rank, 3, port)) for rank in (0, 1))
    store = TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=100))
    store.get("roll call/beat/1")
    second.kill()
    said = first.communicate(timeout=70)[0]
    assert first.returncode == 3
    assert "rank 1 was killed or crashed before all ranks had met." in said
    assert "Traceback" not in said


def test_the_first_rank_is_killed_while_others_are_awaited(tmp_path: Path) -> None:
    port, recipe = ranks.free_port(), str(write_recipe(tmp_path))
    train = ("-m", "ptv2_scale", "train", recipe)
    first, second = (ranks.begin(train, ranks.environment(rank, 3, port)) for rank in (0, 1))
    store = TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=100))
    store.get("roll call/beat/1")
    first.kill()
    said = second.communicate(timeout=100)[0]
    assert second.returncode == 3
    assert "rank 0 was killed or crashed before all ranks had met." in said
    assert "Traceback" not in said


def test_a_rank_that_slept_accuses_nobody() -> None:
    store = HashStore()
    first, second = (_Arrivals(store, rank, 2) for rank in (0, 1))
    second.tick(100.0)
    for now in (100.0, 105.0, 160.0, 165.0, 169.0):
        first.tick(now)
        assert not first.lost
    first.tick(172.0)
    assert first.lost == {1}
    assert json.loads(store.get("failed")) == [1, 3]
