"""Shared fixtures."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "support"))
from cluster import Cluster, need_hosts
from points import EXAMPLES
from slurm_cluster import SlurmCluster, need_slurm

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ["HF_HUB_OFFLINE"] = "1"
torch.set_num_threads(1)
# A shell's background job starts with SIGINT ignored, and every process of the tests would too.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long a test takes says nothing of the code: the first one may import a library.
hypothesis.settings.register_profile("untimed", deadline=None, max_examples=EXAMPLES)
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of all tests: pytest reads them from here, whichever folder is named."""
    parser.addoption("--seen", metavar="FILE", help="write what the faults did, as JSON")
    parser.addoption(
        "--tally", metavar="FILE", help="write how many hostile inputs were tried, as JSON"
    )


@pytest.fixture(autouse=True)
def _environment_restored() -> Iterator[None]:
    """A command that runs in this process becomes a rank, and says so in the environment."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def material() -> Path:
    """Real data and golden files that are too large, or not free enough, for the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder of test material at {folder}")
    return folder


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


def _share(path: str) -> str:
    """The part of the tests that one process makes: they share what is dear to start.

    Those of `hub` go with the launchers, which look for programs that both start.
    """
    shared = ("tests/launchers/", "tests/hub/", "tests/runtime/test_interfaces")
    if path.startswith((*shared, "tests/sweep/runners/test_slurm")):
        return "launchers"
    return "reliability" if path.startswith("tests/reliability/") else path


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest parts first where pytest-xdist deals."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        paths = {item: item.path.relative_to(config.rootpath).as_posix() for item in items}
        items.sort(key=lambda item: _share(paths[item]) not in ("launchers", "reliability"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal whole parts to the processes of pytest-xdist."""
    from xdist.scheduler import LoadScopeScheduling

    class ScopeScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _share(nodeid.partition("::")[0])

    return ScopeScheduling(config, log)
