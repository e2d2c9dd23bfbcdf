"""Hosts without a shared file system: each keeps its shards, and together they have all of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ranks
from private_hosts import Hosts
from tiny import write_recipe

from ptv2_scale.checkpoint.manifest import shard_name
from ptv2_scale.checkpoint.store import TrainerState

WORKER = Path(__file__).with_name("groups_worker.py")
NAMES = ["node1", "node2", "node3"]
SHARDS = [shard_name(rank, 3) for rank in range(3)]
STATE = TrainerState(step=8, world=3, hosts=tuple(NAMES))


class Workers:
    """Four ranks on three hosts: two on node1, which see the same disk."""

    def __init__(self, hosts: Hosts, recipe: Path) -> None:
        self.hosts = hosts
        self.processes = hosts.start(
            ranks.worker(WORKER, hosts.run, recipe), on=(1, 1, 2, 3),
            stdin=subprocess.PIPE, stderr=sys.stderr,
        )  # fmt: skip

    def all(self, **order: Any) -> Any:
        """What all ranks answer, which must be the same."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for process in self.processes]  # type: ignore[union-attr]
        assert answers == answers[:1] * 4
        return answers[0]

    def error(self, **order: Any) -> str:
        return str(self.all(**order)["error"])

    def files(self, step: int) -> list[list[str]]:
        """Parts that each host has of a step."""
        return [
            sorted(path.name[5:10] for path in self.hosts.checkpoint(number, step).glob("part-*"))
            for number in (1, 2, 3)
        ]


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    folder = tmp_path_factory.mktemp("groups")
    hosts = Hosts(folder, 3)
    workers = Workers(hosts, write_recipe(folder))
    yield workers
    for process in workers.processes:
        process.communicate(timeout=60)
    hosts.down()


@pytest.fixture
def begun(workers: Workers) -> Workers:
    """Steps 4 and 8 saved, each host with its own shards only."""
    for number in (1, 2, 3):
        shutil.rmtree(workers.hosts.disk(number) / "run", ignore_errors=True)
    assert workers.all(resume="never")["value"]["path"] is None
    for step in (4, 8):
        workers.all(save=step)
    return workers


OWN = [["00000", "00001"], ["00002"], ["00003"]]
ALL = [["00000", "00001", "00002", "00003"]] * 3
EIGHT = "step-00000008"


def test_each_host_keeps_its_shards_and_a_resume_replicates_them(begun: Workers) -> None:
    assert begun.files(8) == OWN
    manifests = {(begun.hosts.checkpoint(n, 8) / "manifest.json").read_bytes() for n in (1, 2, 3)}
    assert len(manifests) == 1
    found = begun.all(resume="auto")["value"]
    assert found == {"path": EIGHT, "skipped": [], "leaders": [0, 0, 2, 3]}
    assert (begun.files(8), begun.files(4)) == (ALL, OWN)
    left = [path.name for n in (1, 2, 3) for path in begun.hosts.disk(n).rglob(".*")]
    assert left == [".lock"] * 3


def test_a_part_that_no_host_has_is_named_and_the_step_before_taken(begun: Workers) -> None:
    (begun.hosts.checkpoint(2, 8) / "part-00002-of-00004.safetensors").unlink()
    found = begun.all(resume="auto")["value"]
    assert found["path"] == "step-00000004"
    assert found["skipped"] == [
        f"{begun.hosts.run}/checkpoints/{EIGHT}.damaged: part-00002-of-00004.safetensors is on"
        " none of the hosts node1, node2, node3; node2 wrote it"
    ]
    for number in (1, 2, 3):
        assert not begun.hosts.checkpoint(number, 8).exists()
        assert begun.hosts.checkpoint(number, 8).with_name(f"{EIGHT}.damaged").is_dir()


def test_a_lost_disk_ends_a_run_whose_shards_were_only_there(begun: Workers) -> None:
    shutil.rmtree(begun.hosts.disk(3) / "run")
    said = begun.error(resume="auto")
    assert "no checkpoint is left to resume from" in said
    for step in (4, 8):
        assert (
            f"step-0000000{step}: part-00003-of-00004.safetensors is on none of the hosts node1,"
            " node2, node3; node3 wrote it"
        ) in said
    assert not (begun.hosts.disk(3) / "run").exists()
    assert begun.files(8)[:2] == OWN[:2]


def test_a_lost_disk_is_filled_again_by_the_others(begun: Workers) -> None:
    begun.all(resume="auto")
    shutil.rmtree(begun.hosts.disk(1) / "run")
    assert begun.all(resume="auto")["value"]["path"] == EIGHT
    assert begun.files(8) == ALL


def test_a_damaged_shard_is_replaced(begun: Workers) -> None:
    begun.all(resume="auto")
    path = begun.hosts.checkpoint(3, 8) / "part-00000-of-00004.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert begun.all(resume="auto")["value"]["path"] == EIGHT
    assert path.read_bytes() == (begun.hosts.checkpoint(1, 8) / path.name).read_bytes()


def test_a_host_with_another_checkpoint_of_the_step_gets_this_one(begun: Workers) -> None:
    begun.all(resume="auto")
    target = begun.hosts.checkpoint(2, 8)
    shutil.rmtree(target)
    shutil.copytree(begun.hosts.checkpoint(2, 4), target)
    assert begun.all(resume="auto")["value"]["path"] == EIGHT
    assert begun.files(8) == ALL
    assert target.with_name(f"{EIGHT}.damaged").is_dir()


def test_a_checkpoint_of_another_run_is_copied_whole(begun: Workers) -> None:
    other = begun.hosts.own / "other" / EIGHT
    for number in (1, 2, 3):
        (begun.hosts.disk(number) / "run" / "checkpoints").rename(
            begun.hosts.disk(number) / "other"
        )
    assert "exists already" in begun.error(resume=str(other))
    for number in (1, 2, 3):
        shutil.rmtree(begun.hosts.disk(number) / "run")
    assert begun.all(resume=str(other))["value"]["path"] == EIGHT
    assert begun.files(8) == ALL
    for number in (1, 2, 3):
        shutil.rmtree(begun.hosts.disk(number) / "run")
    (begun.hosts.disk(2) / "other" / EIGHT / "part-00002-of-00004.safetensors").unlink()
    said = begun.error(resume=str(other))
    assert "not a valid checkpoint: part-00002-of-00004.safetensors is on none of" in said
    for number in (1, 2, 3):
        shutil.rmtree(begun.hosts.disk(number) / "other")


def test_nothing_is_overwritten_on_any_host(begun: Workers) -> None:
    for number in (1, 3):
        shutil.rmtree(begun.hosts.disk(number) / "run")
    assert "node2: " in begun.error(resume="never")
    assert not (begun.hosts.disk(1) / "run").exists()


def test_a_host_that_cannot_write_is_named_and_no_host_publishes(begun: Workers) -> None:
    checkpoints = begun.hosts.disk(3) / "run" / "checkpoints"
    (checkpoints / ".step-00000012.building").write_text("in the way")
    said = begun.error(save=12)
    assert "could not be written: Not a directory (rank 3 on node3)" in said
    assert begun.files(12) == [[], [], []]
    assert not list(begun.hosts.disk(1).rglob("*.building"))


def test_a_host_that_cannot_publish_takes_it_back_from_the_others(begun: Workers) -> None:
    # Found only when it is renamed: what stands in its place cannot be moved away.
    blocked = str(begun.hosts.run / "checkpoints" / "step-00000012")
    begun.hosts.sh(2, "mkdir", blocked)
    begun.hosts.sh(2, "mount", "-t", "tmpfs", "own", blocked)
    said = begun.error(save=12)
    begun.hosts.sh(2, "umount", blocked)
    begun.hosts.sh(2, "rmdir", blocked)
    assert "could not be written: Device or resource busy (rank 2 on node2)" in said
    assert begun.files(12) == [[], [], []]
    assert begun.all(resume="auto")["value"]["path"] == EIGHT


def test_pruning_is_done_on_every_host(begun: Workers) -> None:
    begun.all(prune=1)
    assert begun.files(4) == [[], [], []]
    assert begun.files(8) == OWN


def test_hosts_that_see_the_same_directory_are_one_group(workers: Workers, tmp_path: Path) -> None:
    hosts = workers.hosts
    assert workers.all(groups=str(tmp_path / "not" / "there" / "yet"))["value"] == [0, 0, 0, 0]
    assert workers.all(groups=str(hosts.own / "any"))["value"] == [0, 0, 2, 3]
    for number in (1, 2, 3):
        hosts.sh(number, "mkdir", str(hosts.own / "mixed"))
    for number in (2, 3):
        hosts.sh(number, "mount", "--bind", str(tmp_path), str(hosts.own / "mixed"))
    assert workers.all(groups=str(hosts.own / "mixed" / "run"))["value"] == [0, 0, 2, 2]
    for number in (2, 3):
        hosts.sh(number, "umount", str(hosts.own / "mixed"))
    assert not list(tmp_path.iterdir()), "marks are taken away"
    assert not list(hosts.disk(1).glob(".*"))


def test_a_host_where_nothing_can_be_written_is_named(workers: Workers) -> None:
    hosts, place = workers.hosts, workers.hosts.own / "locked"
    for number in (1, 2, 3):
        hosts.sh(number, "mkdir", str(place))
    hosts.sh(3, "mount", "-t", "tmpfs", "-o", "ro", "own", str(place))
    said = workers.error(groups=str(place / "run"))
    hosts.sh(3, "umount", str(place))
    assert said == f"node3: {place}: cannot be written (Read-only file system)."
    assert not list(hosts.disk(1).rglob(".ptv2-scale-*"))
