"""Launches that cannot run are refused by every way of starting, and nothing is made or queued."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from points import sample
from tiny import write_recipe

from ptv2_scale.cli import main

# Way to start -> ranks it has.
WAYS = {
    "train": 1,
    "doctor": 1,
    "doctor --hostfile HOSTS": 6,
    "launch --nproc 2": 2,
    "launch --nproc 2 --dry-run": 2,
    "launch --nodes 2 --node-rank 0 --nproc 2 --master n1:29500 --dry-run": 4,
    "launch --hostfile HOSTS --dry-run": 6,
    "launch --slurm --nodes 2 --gpus-per-node 8": 16,
    "launch --slurm --nodes 2 --gpus-per-node 8 --dry-run": 16,
}
ELSEWHERE = "HOSTS"  # whose files this host need not have

WRONG = {
    "batch": (
        ["train.global_batch=7", "train.micro_batch=2"],
        "train.global_batch=7 cannot be div",
    ),
    "preset": (["backbone.name=glm-10b"], "'glm-10b' is a preset"),
    "unknown tracker": (["trackers=[prometheus]"], "no tracker 'prometheus'"),
    "missing tracker": (["trackers=[clearml]"], "'clearml' is not installed"),
    "room": (["task.max_length=2000"], "2000 text tokens are longer than BERT's position table"),
    "layers": (["prompt.layers=[99]"], "prompt.layers: found layer 99"),
    "unknown task": (["task={name: glue/sst3}"], "task.name: found 'glue/sst3'"),
    "no split": (["task.train=null"], "the train split has no file"),
    "json": (["deepspeed=JSON"], "steps_per_print: found 'auto'"),
    "hpz": (["deepspeed=HPZ"], "zero_hpz_partition_size: 5 does not divide the"),
}
UNREADABLE = ("preset", "unknown task", "no split", "json")
MISSING = {
    "folder of data": (["task.path=/nowhere"], "/nowhere"),
    "validation": (["task.validation=none.jsonl"], "none.jsonl"),
    "backbone": (["backbone.name=/nowhere/model"], "/nowhere/model"),
    "tokenizer": (["backbone.tokenizer=/nowhere/words"], "/nowhere/words"),
    "prefix": (["prompt.init=saved", "prompt.init_from=/nowhere/p"], "/nowhere/p"),
}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job")
    write_recipe(folder, "bert", train={"global_batch": 48, "micro_batch": 1})
    (folder / "hosts").write_text("n1 slots=4\nn2 slots=2\n")
    zero = {"stage": 3}
    (folder / "own.json").write_text(
        json.dumps({"zero_optimization": zero, "steps_per_print": "auto"})
    )
    zero = {"stage": 3, "zero_hpz_partition_size": 5}
    (folder / "hpz.json").write_text(json.dumps({"zero_optimization": zero}))
    return folder


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An sbatch that notes that it was called, and an ssh that reaches no host."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", "echo 41"), ("ssh", "echo 'Connection refused' >&2; exit 255")):
        (folder / name).write_text(f'#!/bin/sh\necho {name} >> "{tmp_path}/called"\n{text}\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return tmp_path / "called"


def start(job: Path, run: Path, way: str, overrides: list[str]) -> int:
    command, *words = way.replace("HOSTS", str(job / "hosts")).split()
    named = {"JSON": str(job / "own.json"), "HPZ": str(job / "hpz.json")}
    for sign, path in named.items():
        overrides = [one.replace(f"={sign}", f"={path}") for one in overrides]
    return main([command, str(job / "recipe.yaml"), f"run={run}", *words, *overrides])


def check_refused(text: str, said: str, folder: Path) -> None:
    """It is said what is wrong, and no run has a directory."""
    assert said in text
    assert "Traceback" not in text
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("name", "way"), sample([(name, way) for name in WRONG for way in WAYS], 28)
)
def test_what_ranks_would_refuse_is_refused_before(
    name: str,
    way: str,
    job: Path,
    programs: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    overrides, said = WRONG[name]
    code = start(job, tmp_path / "runs" / "one", way, overrides)
    # The doctor asks hosts, which do not answer, unless it cannot know what for.
    asked = way == "doctor --hostfile HOSTS" and name not in UNREADABLE
    assert code == (3 if asked else 2)
    check_refused("".join(capfd.readouterr()), said, tmp_path)
    assert "sbatch" not in (programs.read_text() if programs.exists() else "")


@pytest.mark.parametrize("way", [way for way in WAYS if ELSEWHERE not in way])
@pytest.mark.parametrize("name", MISSING)
def test_files_that_are_not_here_are_named_before(
    name: str,
    way: str,
    job: Path,
    programs: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    overrides, said = MISSING[name]
    assert start(job, tmp_path / "runs" / "one", way, overrides) == 2
    check_refused("".join(capfd.readouterr()), said, tmp_path)
    assert not programs.exists()


@pytest.mark.parametrize("name", MISSING)
def test_files_may_be_on_other_hosts_alone(
    name: str, job: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    overrides, _ = MISSING[name]
    run = tmp_path / "run"
    assert start(job, run, "launch --hostfile HOSTS --dry-run", overrides) == 0
    assert start(job, run, "launch --slurm --nodes 2 --dry-run --no-doctor", overrides) == 0


@pytest.mark.parametrize("way", [way for way in WAYS if "--dry-run" in way])
@pytest.mark.parametrize("name", ["zero2", "auto"])
def test_what_can_run_is_not_refused(name: str, way: str, job: Path, tmp_path: Path) -> None:
    words = ["trackers=[tensorboard]", f"deepspeed={name}"]
    assert start(job, tmp_path / "run", way, words) == 0


def test_a_job_that_can_run_is_queued(job: Path, programs: Path, tmp_path: Path) -> None:
    way = "launch --slurm --nodes 2 --gpus-per-node 8"
    assert start(job, tmp_path / "runs" / "one", way, []) == 0
    assert programs.read_text() == "sbatch\n"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["one.sbatch"]


def test_what_is_on_the_hub_must_be_in_the_cache_of_a_job(
    job: Path, programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    way = "launch --slurm --nodes 2"
    words = ["backbone.name=nobody/no-such-model"]
    assert start(job, tmp_path / "run", way, words) == 2
    assert "nobody/no-such-model: no folder, and not in the cache" in capsys.readouterr().err
    assert not programs.exists()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 64), st.integers(1, 8), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_batches_are_divided_as_arithmetic_says(
    job: Path, total: int, micro: int, slots: list[int]
) -> None:
    hosts = job / "any-hosts"
    hosts.write_text("".join(f"n{number} slots={one}\n" for number, one in enumerate(slots)))
    words = [f"train.global_batch={total}", f"train.micro_batch={micro}", "backbone.name=/none/x"]
    code = main(["launch", str(job / "recipe.yaml"), "--hostfile", str(hosts), "--dry-run", *words])
    assert (code == 0) == (total % (micro * sum(slots)) == 0)


def test_each_run_of_an_array_is_checked(
    job: Path, programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = tmp_path / "trials"
    lines = ["train.lr=1e-2", "# nothing", "train.global_batch=30", "train.lr=1e-3"]
    trials.write_text("\n".join(lines) + "\n")
    way = f"launch --slurm --nodes 2 --gpus-per-node 8 --array {trials}"
    assert start(job, tmp_path / "runs" / "sweep", way, []) == 2
    error = capsys.readouterr().err
    assert f"{trials}, run 2 (train.global_batch=30 run=" in error
    assert "train.global_batch=30 cannot be divided" in error
    assert not programs.exists()
    assert not (tmp_path / "runs").exists()
    trials.write_text("train.lr=1e-2\ntrackers=[prometheus]\n")
    assert start(job, tmp_path / "runs" / "sweep", way, []) == 2
    trials.write_text("train.lr=1e-2\nprompt.length=7\n")
    assert start(job, tmp_path / "runs" / "sweep", way, []) == 0


@pytest.mark.parametrize("way", [way for way in WAYS if way.startswith("launch")])
def test_a_run_directory_that_is_there_is_found_before(
    way: str, job: Path, programs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for resume in ("never", "auto", str(tmp_path / "other" / "checkpoints" / "step-00000004")):
        (run / "notes.txt").write_text("mine")
        assert start(job, run, f"{way} --resume {resume}", []) == 2
        said = "exists already" if resume == "never" else "is not the directory of a run"
        assert f"{run}: {said}" in "".join(capfd.readouterr())
    (run / "notes.txt").unlink()
    if "--dry-run" in way:
        assert start(job, run, way, []) == 0
    assert not list(run.iterdir())
    assert not programs.exists()


def test_the_run_directories_of_an_array_are_found_before(
    job: Path, programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep-0001" / "checkpoints").mkdir(parents=True)
    trials = tmp_path / "trials"
    trials.write_text("train.lr=1e-2\ntrain.lr=1e-3\n")
    way = f"launch --slurm --nodes 2 --gpus-per-node 8 --array {trials}"
    assert start(job, tmp_path / "sweep", way, []) == 2
    assert f"{tmp_path / 'sweep-0001'}: exists already" in capsys.readouterr().err
    assert not programs.exists()
    assert start(job, tmp_path / "sweep", f"{way} --resume auto", []) == 0


def test_a_host_that_comes_back_under_torchrun_finds_the_run(job: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    way = "launch --backend torchrun --nodes 2 --nproc 2 --master n1:29500 --dry-run"
    assert start(job, tmp_path / "run", way, []) == 0


def test_a_run_directory_in_a_file_is_found_before(
    job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert start(job, tmp_path / "file" / "run", "launch --nproc 2 --dry-run", []) == 2
    assert f"{tmp_path / 'file'} is not a directory" in capsys.readouterr().err
