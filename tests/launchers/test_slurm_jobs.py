"""`ptv2-scale launch --slurm` on a real Slurm of two nodes: interrupted, a job ends well."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import ranks
from hosted import Run
from points import at_length, sample
from slurm_cluster import SlurmCluster
from tiny import write_recipe

STEPS, SLOW_FROM = 24, 8  # see slow/sitecustomize.py
LAUNCH = Path(__file__).parents[2] / "launch"
SLOW = Path(__file__).with_name("slow")
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")


@dataclass
class Submitted:
    """A job, and the run that it makes."""

    cluster: SlurmCluster
    run: Run
    number: str

    def text(self) -> str:
        return self.run.path.with_name(f"{self.run.path.name}.{self.number}.log").read_text()

    def end(self) -> dict[str, str]:
        return self.cluster.wait_for_state(self.number, *ENDED)

    def must_succeed(self) -> dict[str, str]:
        found = self.end()
        assert found["JobState"] == "COMPLETED", f"{found}\n{self.text()[-6000:]}"
        return found


@dataclass
class Recipe:
    """A small job with dropout, long enough to be interrupted."""

    folder: Path
    cluster: SlurmCluster

    def run(self, name: str) -> Run:
        return Run(self.folder / name, (str(self.folder / "recipe.yaml"),))

    def environment(self, slow: bool) -> dict[str, str]:
        found = {**ranks.no_place(), **self.cluster.environment}
        found["PATH"] = f"{Path(sys.executable).parent}:{found['PATH']}"
        if slow:
            found["PYTHONPATH"] += f":{SLOW}"
        return found

    def sbatch(self, *arguments: str, slow: bool = False) -> str:
        made = subprocess.run(
            ["sbatch", "--parsable", *arguments], env=self.environment(slow), check=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=self.folder,
        )  # fmt: skip
        return made.stdout.strip()

    def submit(
        self, name: str, *options: str, slow: bool = False, doctor: bool = False
    ) -> Submitted:
        run = self.run(name)
        argv = [sys.executable, "-m", "ptv2_scale", "launch", *run.arguments]
        argv += [] if doctor else ["--no-doctor"]
        made = subprocess.run(
            [*argv, "--slurm", "--nodes", "2", *options],
            env=self.environment(slow), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, cwd=self.folder,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        return Submitted(self.cluster, run, made.stdout.split()[1].rstrip(":"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, slurm: SlurmCluster) -> Recipe:
    folder = tmp_path_factory.mktemp("a job")  # with a blank
    write_recipe(
        folder,
        "bert",
        prompt={"dropout": 0.2},
        backbone={"dropout": 0.1},
        train={"steps": STEPS, "micro_batch": 3},
        evaluate={"every": 12},
        watchdog={"silence": "20s", "stall": "90s"},
    )
    return Recipe(folder, slurm)


@pytest.fixture(scope="module")
def whole(recipe: Recipe) -> bytes:
    """The result of two ranks of this host, without Slurm, never interrupted."""
    run = recipe.run("whole")
    run.here(2)
    return run.result()


@pytest.fixture(scope="module")
def interrupted(recipe: Recipe) -> dict[str, Submitted]:
    """Three jobs that run at the same time, each interrupted in its own way in mid-run."""
    tell = recipe.cluster.tell

    def soon_minutes(number: str) -> int:
        # At least 35 s from now: Slurm looks every 30 s, and must warn before it ends the job.
        return (recipe.cluster.run_time(number) + 35) // 60 + 1

    ways: dict[str, Callable[[str], None]] = {
        "cancelled": lambda number: tell("scancel", number),
        "requeued": lambda number: tell("scontrol", "requeue", number),
        "limited": lambda number: recipe.cluster.limit(number, soon_minutes(number)),
    }
    jobs = {name: recipe.submit(name, "slurm.warning=60s", slow=True) for name in ways}
    for name, job in jobs.items():
        job.run.wait_for(SLOW_FROM, timeout=240)
        ways[name](job.number)
    # Before it starts again: the next time it gets to its end.
    recipe.cluster.wait_for_state(jobs["limited"].number, "PENDING")
    recipe.cluster.limit(jobs["limited"].number, minutes=10)
    return jobs


def test_a_launcher_on_each_node_gives_the_same_bytes(recipe: Recipe, whole: bytes) -> None:
    job = recipe.submit("nodes", "slurm.launcher=node", doctor=True)
    job.must_succeed()
    assert "2 hosts, " in job.text()
    assert " to be fixed first" not in job.text()
    assert job.run.result() == whole


def test_a_cancelled_job_is_saved_and_does_not_come_back(
    interrupted: dict[str, Submitted], recipe: Recipe, whole: bytes
) -> None:
    job = interrupted["cancelled"]
    recipe.cluster.wait_until_gone(job.number)
    assert job.run.status()["exit_code"] == 75
    assert job.run.steps()[-1] < STEPS
    found = job.end()
    assert (found["JobState"], found["Restarts"]) == ("CANCELLED", "0")
    job.run.here(2, "--resume", "auto")
    assert job.run.result() == whole


def test_an_array_makes_a_run_of_each_line(recipe: Recipe) -> None:
    lines = recipe.folder / "sweep"
    lines.write_text("train.seed=1\n# another one\ntrain.seed=2 'run=the second'\n")
    job = recipe.submit("sweep", "train.steps=2", "--array", str(lines), "--nodes", "1")
    for number in ("0", "1"):
        found = recipe.cluster.wait_for_state(f"{job.number}_{number}", *ENDED)
        assert found["JobState"] == "COMPLETED"
    first = Run(recipe.folder / "sweep-0000").result()
    assert first != Run(recipe.folder / "the second").result()


def test_a_requeued_job_ends_with_the_same_bytes(
    interrupted: dict[str, Submitted], whole: bytes
) -> None:
    job = interrupted["requeued"]
    assert job.must_succeed()["Restarts"] == "1"
    assert "on 2 ranks" in job.text()
    assert "stopped by SIGTERM after step" in job.text()
    assert "resumed from" in job.text()
    assert job.run.result() == whole


def test_a_job_that_meets_its_time_limit_saves_and_comes_back(
    interrupted: dict[str, Submitted], whole: bytes
) -> None:
    job = interrupted["limited"]
    assert job.must_succeed()["Restarts"] == "1"
    assert "stopped by SIGUSR1 after step" in job.text()
    assert job.run.result() == whole


@pytest.mark.parametrize("script", sample(["slurm-multi-node.sh", "slurm-single-node.sh"], 1))
def test_the_scripts_to_copy_run(script: str, recipe: Recipe) -> None:
    name = script.removesuffix(".sh")
    run = recipe.run(name)
    nodes = ("--nodes=2", "--ntasks-per-node=1") if "multi" in name else ("--ntasks-per-node=2",)
    number = recipe.sbatch(*nodes, str(LAUNCH / script), *run.arguments, "train.steps=2")
    found = recipe.cluster.wait_for_state(number, *ENDED)
    text = (recipe.folder / f"ptv2.{number}.log").read_text()
    assert found["JobState"] == "COMPLETED", text
    assert "on 2 ranks" in text
    assert run.result()


@at_length
def test_the_script_with_requeue_comes_back(recipe: Recipe, whole: bytes) -> None:
    run = recipe.run("copied")
    script = LAUNCH / "slurm-multi-node.sh"
    nodes = ("--nodes=2", "--ntasks-per-node=1")
    number = recipe.sbatch(*nodes, str(script), *run.arguments, slow=True)
    run.wait_for(SLOW_FROM)
    # What Slurm does before the time limit.
    recipe.cluster.tell("scancel", "--batch", "--signal=USR1", number)
    found = recipe.cluster.wait_for_state(number, *ENDED)
    assert (found["JobState"], found["Restarts"]) == ("COMPLETED", "1")
    assert run.result() == whole
