"""Hosts for tests of launching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from cluster import Cluster, need_hosts
from slurm_cluster import SlurmCluster, need_slurm


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Cluster]]:
    """`cluster(n, slots=1)`: n hosts, brought up once for all tests that want as many."""
    need_hosts()
    made: dict[tuple[int, int], Cluster] = {}
    with ExitStack() as stack:

        def up(count: int, slots: int = 1) -> Cluster:
            if (count, slots) not in made:
                hosts = Cluster(tmp_path_factory.mktemp("hosts"), count, slots)
                stack.callback(hosts.down)
                hosts.up()
                made[count, slots] = hosts
            return made[count, slots]

        yield up


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """A real Slurm of two nodes."""
    need_slurm()
    cluster = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()
