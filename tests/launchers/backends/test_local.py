"""This host's share in a run: its number, its devices, and options that do not go together."""

from __future__ import annotations

from pathlib import Path

import pytest
from launching import spec
from nodes import world_of

from ptv2_scale.runtime.errors import UserError

NODES = ("--nodes", "2", "--node-rank", "0", "--nproc", "1", "--master", "n1:29400")


def test_only_a_launcher_that_sets_devices_asks_for_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    with pytest.raises(UserError, match="shows 1 devices"):
        spec("--nproc", "2")
    spec("--nproc", "2", "--backend", "torchrun")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--nodes 2", "give the same command on each node"),
        ("--nodes 2 --backend accelerate", "give the same command on each node"),
        ("--nodes 2 --backend torchrun", "--master HOST:PORT"),
        ("--nodes 2 --node-rank 0 --master n1", "--master HOST:PORT"),
        ("--nodes 2 --node-rank 0 --master n1:x", "found the port 'x'"),
        ("--nodes 2 --node-rank 2 --master n1:29400", "found 2 nodes"),
        ("--node-rank 1", "say how many with --nodes"),
        ("--ssh-config {0}", "Add --hostfile"),
        ("--nodes 2 --node-rank 0 --transport ssh", "Add --hostfile"),
        ("--master n1:29500", "Add --nodes"),
    ],
)
def test_options_that_do_not_go_together(words: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        spec(*words.format(tmp_path).split())


def test_each_node_has_its_number() -> None:
    made = spec(*["--nodes", "3", "--node-rank", "1", "--master", "n1:29400", "--nproc", "2"])
    assert "ranks 2 to 3" in made.describe("x")
    (channel,) = made.channels("x")
    assert "--node_rank=1" in channel.argv
    assert world_of(channel.argv) == {f"node{number}": [0, 1] for number in range(3)}


def test_one_rank_an_accelerator_unless_the_user_says_so() -> None:
    assert spec(devices=3).group.hosts[0].slots == 3
    assert spec("--nproc", "1", devices=3).group.hosts[0].slots == 1


def test_ranks_do_not_ask_the_hub_unless_the_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def reported(*words: str) -> str | None:
        return spec(*words).variables.shown.get("HF_HUB_OFFLINE")

    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert (reported(*NODES), reported()) == ("1", None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert reported(*NODES) == "0"
