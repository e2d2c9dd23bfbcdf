"""Real starts by torchrun, accelerate and DeepSpeed's launcher: all end with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import ranks
from cluster import Cluster
from hosted import Launched, Run
from points import at_length, sample
from tiny import write_recipe

SCRIPTS = Path(sys.executable).parent
STEPS = 12

# In PYTHONPATH of the ranks: rank 1 is killed before step 7, in the first start of all.
CRASH = """
    import os, signal, sys, threading, time

    def plant():
        name = "ptv2_scale.engine.trainer"
        while not hasattr(sys.modules.get(name), "Trainer"):
            time.sleep(0.02)
        trainer = sys.modules[name].Trainer
        real = trainer.step

        def step(self, number, asked):
            if number == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, number, asked)

        trainer.step = step

    if os.environ.get("RANK") == "1" and os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0":
        threading.Thread(target=plant, daemon=True).start()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small job with dropout."""
    folder = tmp_path_factory.mktemp("job")
    write_recipe(
        folder,
        "bert",
        prompt={"encoder": "mlp", "hidden": 8, "dropout": 0.2, "length": 9},
        backbone={"dropout": 0.1},
        train={"steps": STEPS},
        watchdog={"silence": "20s", "stall": "90s"},
    )
    return folder


@pytest.fixture(scope="module")
def whole(folder: Path) -> bytes:
    """What two ranks end with that nothing has interrupted."""
    run = Run(folder / "whole", (str(folder / "recipe.yaml"),))
    run.here(2)
    return run.result()


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Run:
    return Run(tmp_path / "run", (str(folder / "recipe.yaml"),))


@pytest.fixture
def crash(tmp_path: Path) -> dict[str, str]:
    """The environment of a start that crashes once."""
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(CRASH))
    return {"PYTHONPATH": f"{ranks.no_place()['PYTHONPATH']}:{tmp_path}"}


def launch(run: Run, *words: str, env: dict[str, str] | None = None) -> Launched:
    argv = [sys.executable, "-m", "ptv2_scale", "launch", *run.arguments, "--nproc", "2", *words]
    return run.start(argv, env)


@at_length
def test_torchrun_starts_a_crashed_run_again(run: Run, whole: bytes, crash: dict[str, str]) -> None:
    text = launch(run, "--backend", "torchrun", "--max-restarts", "1", env=crash).must_succeed()
    assert "resumed from" in text
    assert run.steps() == [1, 2, 3, 4, 5, 6, 5, 6, 7, 8, 9, 10, 11, 12]
    assert run.result() == whole


@at_length
def test_a_crash_without_restarts_is_told_of(run: Run, crash: dict[str, str]) -> None:
    launched = launch(run, "--backend", "torchrun", env=crash)
    assert launched.code() == 3, launched.text()
    assert run.status()["state"] == "failed"
    assert max(run.steps()) == 6


@at_length
def test_torchrun_is_kept_from_starting_a_stopped_run_again(run: Run, whole: bytes) -> None:
    launched = launch(run, "--backend", "torchrun", "--max-restarts", "3")
    run.wait_for(5)
    launched.process.send_signal(signal.SIGTERM)
    assert launched.code(60) == 75, launched.text()
    assert launched.text().count("stopped by SIGTERM") == 1
    assert run.status()["state"] == "stopped"
    run.here(2, "--resume", "auto")
    assert run.result() == whole


@at_length
def test_a_mistake_that_ranks_find_is_not_tried_again(run: Run) -> None:
    launched = launch(run, "--backend", "torchrun", "--max-restarts", "3", "task.path=/nowhere")
    assert launched.code(60) == 2, launched.text()
    assert launched.text().count("/nowhere") == 1


@at_length
def test_accelerate(run: Run, whole: bytes) -> None:
    launch(run, "--backend", "accelerate").must_succeed()
    assert run.result() == whole
    assert run.path.with_name("run.accelerate.yaml").exists()


@at_length
def test_deepspeeds_own_command(run: Run, whole: bytes) -> None:
    argv = [str(SCRIPTS / "deepspeed"), "--num_gpus", "2", "--module", "ptv2_scale", "train"]
    path = {"PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    run.start([*argv, *run.arguments], path).must_succeed()
    assert run.result() == whole


@at_length
def test_tasks_of_a_slurm_step(run: Run, whole: bytes) -> None:
    step = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2",
            "SLURM_NODEID": "0", "SLURM_STEP_TASKS_PER_NODE": "2",
            "SLURM_STEP_NODELIST": "localhost"}  # fmt: skip
    argv = [sys.executable, "-m", "ptv2_scale", "train", *run.arguments]
    tasks = [
        run.start(argv, {**step, "SLURM_PROCID": number, "SLURM_LOCALID": number})
        for number in ("0", "1")
    ]
    for task in tasks:
        task.must_succeed()
    assert run.result() == whole


def on_each_node(cluster: Cluster, run: Run, env: dict[str, str], *words: str) -> list[Launched]:
    """The same command on two hosts, without ssh; `#` in a word is the host's number."""
    argv = [sys.executable, "-m", "ptv2_scale", "launch", *run.arguments, "--nproc", "1"]
    argv += ["--nodes", "2", "--master", f"{cluster.hosts[0]}:{ranks.free_port()}"]
    started = []
    for number in (1, 2):
        log = run.path.with_name(f"node{number}.log")
        with log.open("ab") as output:
            process = cluster.run(
                number, [*argv, *(word.replace("#", str(number - 1)) for word in words)],
                env={**ranks.no_place(), **env}, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        started.append(Launched(process, log))
    return started


Hosts = Callable[..., Cluster]


def test_torchrun_on_two_nodes_finds_its_ranks_and_starts_them_again(
    cluster: Hosts, run: Run, whole: bytes, crash: dict[str, str]
) -> None:
    words = ("--backend", "torchrun", "--max-restarts", "1")
    for node in on_each_node(cluster(2), run, crash, *words):
        node.must_succeed()
    assert 7 in run.steps()
    assert run.steps().count(5) == 2
    assert run.result() == whole


@pytest.mark.parametrize("backend", sample(["accelerate", "deepspeed"], 1))
def test_a_command_on_each_node(backend: str, cluster: Hosts, run: Run, whole: bytes) -> None:
    for node in on_each_node(cluster(2), run, {}, "--backend", backend, "--node-rank", "#"):
        node.must_succeed()
    assert run.result() == whole


@at_length
def test_a_node_whose_ranks_stop_says_so_by_itself(
    cluster: Hosts, run: Run, crash: dict[str, str]
) -> None:
    nodes = on_each_node(cluster(2), run, {}, "--node-rank", "#")
    run.wait_for(4)
    nodes[1].process.send_signal(signal.SIGTERM)
    assert [node.code(60) for node in nodes] == [75, 75], nodes[1].text()
