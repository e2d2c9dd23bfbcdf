"""The command line's words for a launch, and the options that they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from launching import options

from ptv2_scale import LaunchOptions
from ptv2_scale.cli import main


def test_without_a_word_all_is_as_the_function_has_it() -> None:
    assert options() == LaunchOptions("demo")


def test_each_word_arrives_in_its_field() -> None:
    words = "a=1 --resume auto --hostfile h --nproc 2 --master m:1 --nodes 3 --node-rank 2"
    words += " --backend accelerate --transport ssh --ssh-config c --max-restarts 4 --backoff 0.5"
    assert options(*words.split(), "--no-doctor", "--dry-run", "b=2") == LaunchOptions(
        recipe="demo", overrides=("a=1", "b=2"), resume="auto", hostfile=Path("h"), nproc=2,
        master="m:1", nodes=3, node_rank=2, backend="accelerate", transport="ssh",
        ssh_config=Path("c"), max_restarts=4, backoff=0.5, doctor=False, dry_run=True,
    )  # fmt: skip
    words = "--slurm --gpus-per-node 8 --partition p --account a --qos q --time t --constraint c"
    assert options(*words.split(), "--array", "f") == LaunchOptions(
        recipe="demo", slurm=True, gpus_per_node=8, partition="p", account="a", qos="q",
        time="t", constraint="c", array=Path("f"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--nproc 0", "found '0', expected a whole number from 1 on"),
        ("--node-rank x", "found 'x', expected a whole number"),
        ("--hostfile h --slurm", "not allowed with argument"),
    ],
)
def test_words_that_are_no_numbers(words: str, said: str, capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        options(*words.split())
    assert said in capsys.readouterr().err


def test_an_unknown_launcher_is_an_error_with_a_guess(capsys: Any) -> None:
    assert main(["launch", "demo", "--backend", "torchrum"]) == 2
    assert "Did you mean 'torchrun'?" in capsys.readouterr().err
    assert main(["launch", "demo", "--hostfile", "hosts", "--transport", "psh"]) == 2
    assert "Did you mean 'pdsh'?" in capsys.readouterr().err


def test_a_dry_run_prints_commands_and_starts_nothing(tmp_path: Path, capsys: Any) -> None:
    run = tmp_path / "run"
    assert main(["launch", "demo", f"run={run}", "--nproc", "2", "--dry-run"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert f"# run directory: {run}" in out
    assert "ptv2_scale.launchers.node_agent run" in out[-1]
    assert "deepspeed.launcher.launch" in out[-1]
    assert not run.exists()
