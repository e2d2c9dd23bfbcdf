"""torchrun, as it is kept in golden files and as it reads its own options."""

from __future__ import annotations

from pathlib import Path

import pytest
from launching import spec
from nodes import ALONE, TRAIN, TWO, UNEQUAL, golden, lines

from ptv2_scale.launchers.backends.base import NodeStart, Rendezvous
from ptv2_scale.launchers.backends.torchrun import Torchrun
from ptv2_scale.runtime.errors import UserError

render = Torchrun().render


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("node-torchrun.txt", NodeStart(ALONE, 0, restarts=3)),
        ("node-torchrun-static.txt", NodeStart(TWO, 1)),
        (
            "node-torchrun-meeting.txt",
            NodeStart(TWO, None, restarts=2, rendezvous=Rendezvous(True, "10.0.0.1")),
        ),
    ],
)
def test_golden(name: str, start: NodeStart) -> None:
    assert lines(render(start)) == golden(name)


def test_equal_hosts_are_asked_for() -> None:
    with pytest.raises(UserError, match="2 on n1 and 3 on n2"):
        render(NodeStart(UNEQUAL, 0))


def test_torchrun_reads_its_options() -> None:
    from torch.distributed.run import get_args_parser

    meeting = Rendezvous(False, "10.0.0.2")
    options = render(NodeStart(TWO, None, restarts=2, rendezvous=meeting))
    read = get_args_parser().parse_args(options[options.index("torch.distributed.run") + 1 :])
    assert (read.nnodes, read.nproc_per_node, read.max_restarts) == ("2", "2", 2)
    assert (read.rdzv_endpoint, read.rdzv_conf) == ("n1:29400", "is_host=false")
    assert [read.training_script, *read.training_script_args] == ["ptv2_scale", *TRAIN]


def test_torchrun_takes_its_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed.run import get_args_parser

    for word in render(NodeStart(ALONE, 0))[1:3]:
        monkeypatch.setenv(*word.split("="))
    read = get_args_parser().parse_args(["script"])
    if hasattr(read, "signals_to_handle"):
        assert "SIGUSR1" in read.signals_to_handle
    if hasattr(read, "shutdown_timeout"):
        assert read.shutdown_timeout == 300


def test_hosts_of_a_file_are_started_by_torchrun_too(tmp_path: Path) -> None:
    hostfile = tmp_path / "hosts"
    hostfile.write_text("n1 slots=2\nn2 slots=2\n")
    made = spec("--hostfile", str(hostfile), "--backend", "torchrun", "--max-restarts", "2")
    argv = made.node_launcher(made.group, 1)
    assert {"--nnodes=2", "--node-rank=1", "--master-addr=n1"} <= set(argv)
    assert "--max-restarts=0" in argv  # the launch starts all hosts again


def test_on_this_host_torchrun_restarts_its_ranks_itself() -> None:
    made = spec("--backend", "torchrun", "--max-restarts", "2")
    assert "--max-restarts=2" in made.node_launcher(made.group, 0)
