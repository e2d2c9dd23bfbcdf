"""accelerate: as it is kept in golden files, and as it reads its own configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from launching import spec
from nodes import ALONE, TWO, UNEQUAL, golden, lines

from ptv2_scale.launchers.backends.accelerate import CONFIG_MADE_BY, Accelerate
from ptv2_scale.launchers.backends.base import NodeStart
from ptv2_scale.runtime.atomic import replace_own
from ptv2_scale.runtime.errors import UserError

ACCELERATE = Accelerate()


def test_golden() -> None:
    start = NodeStart(TWO, 1, config=Path("/data/runs/rte.accelerate.yaml"))
    assert lines(ACCELERATE.render(start)) == golden("node-accelerate.txt")
    assert ACCELERATE.config(TWO) == golden("node-accelerate.yaml")


def test_equal_hosts_are_asked_for() -> None:
    with pytest.raises(UserError, match="2 on n1 and 3 on n2"):
        ACCELERATE.config(UNEQUAL)


def test_accelerate_reads_its_configuration(tmp_path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    path = tmp_path / "a.yaml"
    path.write_text(ACCELERATE.config(TWO))
    read = load_config_from_file(str(path))
    assert (read.num_machines, read.num_processes) == (2, 4)
    assert (read.main_process_ip, read.main_process_port) == ("n1", 29400)
    assert read.distributed_type == "MULTI_GPU"


def test_its_configuration_lies_beside_the_run() -> None:
    made = spec("--backend", "accelerate")
    ((path, text),) = made.files.items()
    assert path == Path("runs/demo.accelerate.yaml")
    assert text in made.describe("x").replace("#   ", "")


def test_a_file_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.accelerate.yaml"
    replace_own(path, ACCELERATE.config(ALONE), CONFIG_MADE_BY)
    replace_own(path, ACCELERATE.config(TWO), CONFIG_MADE_BY)
    assert path.read_text() == ACCELERATE.config(TWO)
    path.write_text("mine: true\n")
    with pytest.raises(UserError, match="was not made here"):
        replace_own(path, ACCELERATE.config(TWO), CONFIG_MADE_BY)
    assert path.read_text() == "mine: true\n"
