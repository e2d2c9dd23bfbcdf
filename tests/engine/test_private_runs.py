"""Runs on hosts without a shared file system end with the bytes of a run on a shared one."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ranks
from killed import losses
from points import sample
from private_hosts import Hosts
from tiny import write_recipe

FAULTY = str(Path(__file__).parents[1] / "support" / "faulty.py")
PART = "part-0000{}-of-00002.safetensors"
# File operations of a host's first rank inside its checkpoints, up to the third save's rename.
OPENS_PART, RENAMES = 1 + 2 * 12 + 2, 1 + 2 * 12 + 10


@dataclass
class Ended:
    codes: list[int]
    text: str

    def must_succeed(self) -> Ended:
        assert set(self.codes) == {0}, self.text[-8000:]
        return self


@dataclass
class Job:
    """A recipe whose run directory each of some hosts has for itself."""

    hosts: Hosts
    recipe: Path

    def train(self, *arguments: str, on: tuple[int, ...] = (1, 2), fault: Any = None) -> Ended:
        own = ("-m", "ptv2_scale") if fault is None else (FAULTY, json.dumps(fault))
        train = (*own, "train", str(self.recipe), f"run={self.hosts.run}", *arguments)
        processes = self.hosts.start(train, on)
        text = "\n".join(process.communicate(timeout=300)[0] for process in processes)
        return Ended([process.returncode for process in processes], text)

    def copied_to(self, hosts: Hosts) -> Job:
        """The job on other hosts, the disks as they are now."""
        for number in range(1, self.hosts.count + 1):
            shutil.copytree(self.hosts.disk(number), hosts.disk(number), dirs_exist_ok=True)
        return Job(hosts, self.recipe)

    def result(self) -> bytes:
        return (self.hosts.disk(1) / "run" / "export" / "prompt.safetensors").read_bytes()


MakeHosts = Callable[[int], Hosts]


@pytest.fixture(scope="module")
def make_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeHosts]:
    with contextlib.ExitStack() as stack:

        def make(count: int) -> Hosts:
            hosts = Hosts(tmp_path_factory.mktemp("hosts"), count)
            stack.callback(hosts.down)
            return hosts

        yield make


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job with dropout, run to its end by two ranks that share a directory: the truth."""
    folder = tmp_path_factory.mktemp("shared")
    recipe = write_recipe(
        folder,
        "bert",
        prompt={"encoder": "mlp", "hidden": 8, "dropout": 0.2, "length": 9},
        backbone={"dropout": 0.1},
        train={"steps": 16, "micro_batch": 3},
    )
    ranks.cli(2, "train", str(recipe)).must_succeed()
    return folder


@pytest.fixture
def truth(shared: Path) -> bytes:
    return (shared / "run" / "export" / "prompt.safetensors").read_bytes()


@pytest.fixture(scope="module")
def killed(shared: Path, make_hosts: MakeHosts) -> Job:
    """The same job on two hosts, both killed at step 10; copy it, do not touch it."""
    job = Job(make_hosts(2), shared / "recipe.yaml")
    fault = {"rank": 0, "step": 10, "do": "kill_all"}
    assert job.train(fault=fault).codes == [-9, -9]
    for rank in (0, 1):
        folder = job.hosts.checkpoint(rank + 1, 8)
        assert [path.name for path in sorted(folder.glob("part-*"))] == [PART.format(rank)]
    return job


def test_killed_and_resumed_it_ends_with_the_same_bytes(
    killed: Job, truth: bytes, make_hosts: MakeHosts
) -> None:
    job = killed.copied_to(make_hosts(2))
    text = job.train("--resume", "auto").must_succeed().text
    assert "no shared run directory: each of node1, node2 keeps its ranks' shards" in text
    assert "step-00000008, written by 2 ranks" in text
    assert job.result() == truth
    kept = [
        sorted(path.name for path in (job.hosts.disk(number) / "run" / "checkpoints").iterdir())
        for number in (1, 2)
    ]
    assert kept[0] == kept[1]
    own = sorted(path.name for path in (job.hosts.disk(2) / "run").iterdir())
    assert own == [".lock", "checkpoints", "logs", "recipe.yaml"]


def test_without_a_part_the_step_before_is_taken_and_the_host_named(
    killed: Job, truth: bytes, make_hosts: MakeHosts
) -> None:
    job = killed.copied_to(make_hosts(2))
    (job.hosts.checkpoint(2, 8) / PART.format(1)).unlink()
    text = job.train("--resume", "auto").must_succeed().text
    assert f"{PART.format(1)} is on none of the hosts node1, node2; node2 wrote it" in text
    assert "step-00000004, written by 2 ranks" in text
    assert job.result() == truth


def test_without_a_host_it_cannot_go_on_and_says_why(killed: Job, make_hosts: MakeHosts) -> None:
    job = killed.copied_to(make_hosts(2))
    ended = job.train("--resume", "auto", on=(1,))
    assert ended.codes == [2], ended.text
    assert f"step-00000008: {PART.format(1)} is missing; node2 wrote it" in ended.text
    assert "Traceback" not in ended.text
    assert job.hosts.checkpoint(1, 8).is_dir()


@pytest.mark.parametrize(
    ("number", "do"), sample([(RENAMES, "read_only"), (OPENS_PART, "fill")], 1)
)
def test_a_host_whose_disk_fails_stops_all_and_no_host_publishes(
    number: int, do: str, shared: Path, truth: bytes, make_hosts: MakeHosts
) -> None:
    job = Job(make_hosts(2), shared / "recipe.yaml")
    place = job.hosts.run / "checkpoints"
    job.hosts.sh(2, "mkdir", "-p", str(place))
    job.hosts.sh(2, "mount", "-t", "tmpfs", "-o", "size=8m", "own", str(place))
    fault = {"rank": 1, "file": number, "do": do, "place": str(place)}
    ended = job.train("--resume", "auto", fault=fault)
    assert ended.codes == [2, 2], ended.text
    said = {"fill": "No space left on device", "read_only": "Read-only file system"}[do]
    assert f"could not be written: {said} (rank 1 on node2). It needs" in ended.text
    assert "Traceback" not in ended.text
    kept = sorted(path.name for path in (job.hosts.disk(1) / "run" / "checkpoints").iterdir())
    assert kept == ["step-00000004", "step-00000008"]
    job.hosts.sh(2, "mount", "-o", "remount,rw", str(place))
    job.hosts.sh(2, "rm", "-f", str(place / "filler"))
    job.train("--resume", "auto").must_succeed()
    assert job.result() == truth


@pytest.fixture(scope="module")
def curve(tmp_path_factory: pytest.TempPathFactory, make_hosts: MakeHosts) -> Job:
    """A job without dropout on two hosts, run to its end; all checkpoints are kept."""
    folder = tmp_path_factory.mktemp("curve")
    recipe = write_recipe(
        folder,
        "bert",
        prompt={"dropout": 0.0},
        backbone_config={"spread": None},
        train={"steps": 12, "global_batch": 12, "micro_batch": 2, "lr": 0.003},
        checkpoint={"keep": 9},
    )
    job = Job(make_hosts(2), recipe)
    job.train().must_succeed()
    return job


def test_on_more_hosts_it_goes_on_with_the_same_curve(curve: Job, make_hosts: MakeHosts) -> None:
    job = curve.copied_to(make_hosts(3))
    for number in (1, 2):
        for step in (8, 12):
            shutil.rmtree(job.hosts.checkpoint(number, step))
    # The disks come up in another order, and one is new.
    job.train("--resume", "auto", on=(3, 1, 2)).must_succeed()
    expected, found = losses(curve.hosts.disk(1) / "run"), losses(job.hosts.disk(3) / "run")
    assert sorted(found) == list(range(5, 13))
    for step, loss in found.items():
        assert loss == pytest.approx(expected[step], rel=1e-5)
