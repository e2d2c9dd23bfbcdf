"""What starts a host's ranks: as it is kept in golden files, and as the launchers read it."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ptv2_scale.launchers import node
from ptv2_scale.launchers.hostfile import Host
from ptv2_scale.launchers.node import Group, Rendezvous, shown_devices
from ptv2_scale.launchers.options import add_options, plan_of
from ptv2_scale.runtime.atomic import replace_own
from ptv2_scale.runtime.errors import UserError

GOLDEN = Path(__file__).with_name("golden")
TRAIN = ("train", "my rte.yaml", "train.lr=5e-3", "--resume", "auto")
ALONE = Group((Host("n1", 2),), "127.0.0.1", 29400, TRAIN)
TWO = Group((Host("n1", 2), Host("n2", 2)), "n1", 29400, TRAIN)
UNEQUAL = Group((Host("n1", 2), Host("n2", 3)), "n1", 29400, TRAIN)
CONFIG = Path("/data/runs/rte.accelerate.yaml")


def lines(argv: list[str]) -> str:
    return "".join(f"{word}\n" for word in argv).replace(sys.executable, "PYTHON")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("node-deepspeed.txt", lines(node.deepspeed(TWO, 1))),
        ("node-torchrun.txt", lines(node.torchrun(ALONE, 0, restarts=3))),
        ("node-torchrun-static.txt", lines(node.torchrun(TWO, 1))),
        (
            "node-torchrun-meeting.txt",
            lines(node.torchrun(TWO, None, 2, Rendezvous(True, "10.0.0.1"))),
        ),
        ("node-accelerate.txt", lines(node.accelerate(TWO, 1, CONFIG))),
        ("node-accelerate.yaml", node.accelerate_config(TWO)),
    ],
)
def test_golden(name: str, text: str) -> None:
    assert text == (GOLDEN / name).read_text()


def world_of(argv: list[str]) -> Any:
    (word,) = [word for word in argv if word.startswith("--world_info=")]
    return json.loads(base64.urlsafe_b64decode(word.partition("=")[2]))


def test_deepspeed_shows_ranks_the_devices_that_were_chosen() -> None:
    assert world_of(node.deepspeed(UNEQUAL, 0)) == {"n1": [0, 1], "n2": [0, 1, 2]}
    assert world_of(node.deepspeed(ALONE, 0, ("4", "GPU-5"))) == {"n1": ["4", "GPU-5"]}


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        ({"CUDA_VISIBLE_DEVICES": "4,5"}, ("4", "5")),
        ({"CUDA_VISIBLE_DEVICES": " 4, 5 ,6"}, ("4", "5")),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8932f937-d72c,MIG-5"}, ("GPU-8932f937-d72c", "MIG-5")),
        ({"CUDA_VISIBLE_DEVICES": ""}, ("-1", "-1")),
        ({"CUDA_VISIBLE_DEVICES": "4", "DS_ACCELERATOR": "cpu"}, None),
    ],
)
def test_the_chosen_devices(environ: dict[str, str], found: tuple[str, ...] | None) -> None:
    assert shown_devices(environ, 2) == found


def test_too_few_chosen_devices_are_a_mistake() -> None:
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES=4,5 shows 2 devices"):
        shown_devices({"CUDA_VISIBLE_DEVICES": "4,5"}, 3)


def test_equal_hosts_are_asked_for() -> None:
    for make in (lambda: node.torchrun(UNEQUAL, 0), lambda: node.accelerate_config(UNEQUAL)):
        with pytest.raises(UserError, match="2 on n1 and 3 on n2"):
            make()


def test_torchrun_reads_its_options() -> None:
    from torch.distributed.run import get_args_parser

    options = node.torchrun(TWO, None, 2, Rendezvous(False, "10.0.0.2"))
    read = get_args_parser().parse_args(options[options.index("torch.distributed.run") + 1 :])
    assert (read.nnodes, read.nproc_per_node, read.max_restarts) == ("2", "2", 2)
    assert (read.rdzv_endpoint, read.rdzv_conf) == ("n1:29400", "is_host=false")
    assert [read.training_script, *read.training_script_args] == ["ptv2_scale", *TRAIN]


def test_torchrun_takes_its_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed.run import get_args_parser

    for word in node.torchrun(ALONE, 0)[1:3]:
        monkeypatch.setenv(*word.split("="))
    read = get_args_parser().parse_args(["script"])
    if hasattr(read, "signals_to_handle"):
        assert "SIGUSR1" in read.signals_to_handle
    if hasattr(read, "shutdown_timeout"):
        assert read.shutdown_timeout == 300


def test_accelerate_reads_its_configuration(tmp_path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    path = tmp_path / "a.yaml"
    path.write_text(node.accelerate_config(TWO))
    read = load_config_from_file(str(path))
    assert (read.num_machines, read.num_processes) == (2, 4)
    assert (read.main_process_ip, read.main_process_port) == ("n1", 29400)
    assert read.distributed_type == "MULTI_GPU"


def plan(*words: str) -> Any:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return plan_of(parser.parse_args(words), ("train", "demo"), Path("runs/demo"), lambda: 2)


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
        ("--hostfile {0} --nodes 2", "--nodes: not with --hostfile"),
        ("--hostfile {0} --node-rank 0", "--node-rank: not with --hostfile"),
        ("--hostfile {0} --backend accelerate", "not with --hostfile"),
    ],
)
def test_options_that_do_not_go_together(words: str, said: str, tmp_path: Path) -> None:
    hostfile = tmp_path / "hosts"
    hostfile.write_text("n1 slots=2\nn2 slots=2\n")
    with pytest.raises(UserError, match=said):
        plan(*words.format(hostfile).split())


def test_each_node_has_its_number() -> None:
    made = plan(*["--nodes", "3", "--node-rank", "1", "--master", "n1:29400", "--nproc", "2"])
    assert "ranks 2 to 3" in made.describe("x")
    (channel,) = made.channels("x")
    assert "--node_rank=1" in channel.argv
    assert world_of(list(channel.argv)) == {f"node{number}": [0, 1] for number in range(3)}


def test_hosts_of_a_file_are_started_by_torchrun_too(tmp_path: Path) -> None:
    hostfile = tmp_path / "hosts"
    hostfile.write_text("n1 slots=2\nn2 slots=2\n")
    made = plan("--hostfile", str(hostfile), "--backend", "torchrun", "--max-restarts", "2")
    argv = made.node_launcher(made.group, 1)
    assert {"--nnodes=2", "--node-rank=1", "--master-addr=n1"} <= set(argv)
    assert "--max-restarts=0" in argv  # the launch starts all hosts again


def test_accelerates_configuration_lies_beside_the_run() -> None:
    made = plan("--backend", "accelerate")
    ((path, text),) = made.files.items()
    assert path == Path("runs/demo.accelerate.yaml")
    assert text in made.describe("x").replace("#   ", "")


def test_a_file_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.accelerate.yaml"
    replace_own(path, node.accelerate_config(ALONE), node.CONFIG_MADE_BY)
    replace_own(path, node.accelerate_config(TWO), node.CONFIG_MADE_BY)
    assert path.read_text() == node.accelerate_config(TWO)
    path.write_text("mine: true\n")
    with pytest.raises(UserError, match="was not made here"):
        replace_own(path, node.accelerate_config(TWO), node.CONFIG_MADE_BY)
    assert path.read_text() == "mine: true\n"
