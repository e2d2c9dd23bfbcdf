"""Ranks find themselves in whatever environment they are started in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptv2_scale.launchers.restarts import resume_of
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.rank_env import RankEnv, export_torch_env, rank_env

MASTER = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29501"}
TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", **MASTER}
DEEPSPEED = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_SIZE": "4", **MASTER}
# What a task of `srun --nodes=4 --ntasks=7` found, the third of them on its node n07.
SLURM = {
    "SLURM_JOB_ID": "123456", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "7",
    "SLURM_PROCID": "4", "SLURM_LOCALID": "0", "SLURM_NODEID": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3),1", "SLURM_STEP_NODELIST": "n[05-07],m1",
}  # fmt: skip
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8",
            "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "4"}  # fmt: skip
HYDRA = {"PMI_RANK": "5", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "4"}

PLACE = RankEnv(5, 8, 1, 4, "10.0.0.1", 29501)


@pytest.mark.parametrize(
    "environ", [TORCHRUN, DEEPSPEED, {**OPEN_MPI, **MASTER}, {**HYDRA, **MASTER}]
)
def test_every_launcher_tells_the_place(environ: dict[str, str]) -> None:
    assert rank_env(environ) == PLACE


def test_a_task_of_slurm() -> None:
    found = RankEnv(4, 7, 0, 2, "n05", 20000 + 123456 % 12000)
    assert rank_env(SLURM) == found
    last = {**SLURM, "SLURM_PROCID": "6", "SLURM_NODEID": "3"}
    assert rank_env(last) == RankEnv(6, 7, 0, 1, found.master, found.port)
    assert rank_env({**SLURM, **MASTER}) == RankEnv(4, 7, 0, 2, "10.0.0.1", 29501)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WORLD_SIZE": "1"},
        {**SLURM, "SLURM_STEP_NUM_TASKS": "1"},  # srun --pty bash
        {key: value for key, value in SLURM.items() if "STEP" not in key},  # sbatch's own shell
        {**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"},
    ],
)
def test_one_process_is_alone(environ: dict[str, str]) -> None:
    assert rank_env(environ) is None


def test_the_inner_launcher_counts() -> None:
    assert rank_env({**SLURM, **OPEN_MPI, **TORCHRUN}) == PLACE
    # mpirun in a Slurm job: the step is the one that carried its helpers.
    assert rank_env({**SLURM, **OPEN_MPI, **MASTER}) == PLACE
    assert rank_env({**SLURM, **HYDRA, **MASTER}) == PLACE
    # srun --mpi=pmi2
    pmi2 = {"PMI_RANK": "4", "PMI_SIZE": "7"}
    assert rank_env({**SLURM, **pmi2}) == rank_env(SLURM)


def test_one_rank_a_pod() -> None:
    pod = {"RANK": "2", "WORLD_SIZE": "3", **MASTER}
    assert rank_env(pod) == RankEnv(2, 3, 0, 1, "10.0.0.1", 29501)


@pytest.mark.parametrize(
    ("environ", "change", "named"),
    [
        (TORCHRUN, {"WORLD_SIZE": None}, "WORLD_SIZE is not set"),
        (TORCHRUN, {"RANK": None}, "RANK is not set"),
        (TORCHRUN, {"MASTER_ADDR": None}, "MASTER_ADDR is not set"),
        (TORCHRUN, {"MASTER_PORT": None}, "MASTER_PORT is not set"),
        (TORCHRUN, {"LOCAL_WORLD_SIZE": None}, "LOCAL_WORLD_SIZE is not set"),
        (TORCHRUN, {"RANK": "five"}, "RANK: found 'five'"),
        (TORCHRUN, {"RANK": "-1"}, "RANK: found '-1'"),
        (TORCHRUN, {"RANK": "\u0665"}, "RANK: found '\u0665'"),
        (TORCHRUN, {"RANK": "8"}, "RANK: found 8 where there are 8 ranks"),
        (TORCHRUN, {"LOCAL_RANK": "4"}, "LOCAL_RANK: found 4 where there are 4 ranks"),
        (TORCHRUN, {"LOCAL_WORLD_SIZE": "9"}, "LOCAL_WORLD_SIZE: found 9 ranks"),
        (TORCHRUN, {"MASTER_PORT": "70000"}, "MASTER_PORT: found 70000"),
        ({**OPEN_MPI, **MASTER}, {"MASTER_ADDR": None}, "MASTER_ADDR is not set"),
        ({**HYDRA, **MASTER}, {"MASTER_PORT": ""}, "MASTER_PORT is not set"),
        ({**HYDRA, **MASTER}, {"MPI_LOCALRANKID": None}, "MPI_LOCALRANKID is not set"),
        (SLURM, {"SLURM_STEP_NODELIST": "n[3-1]"}, "for a list of hosts"),
        (SLURM, {"SLURM_STEP_TASKS_PER_NODE": "2,1"}, "SLURM_STEP_TASKS_PER_NODE: found '2,1'"),
        (SLURM, {"SLURM_STEP_TASKS_PER_NODE": "2(x"}, "SLURM_STEP_TASKS_PER_NODE"),
        (SLURM, {"SLURM_PROCID": None}, "SLURM_PROCID is not set"),
        (SLURM, {"SLURM_JOB_ID": None}, "SLURM_JOB_ID is not set"),
        (SLURM, {"SLURM_STEP_NUM_TASKS": "x"}, "SLURM_STEP_NUM_TASKS: found 'x'"),
    ],
)
def test_half_an_environment_is_a_mistake(
    environ: dict[str, str], change: dict[str, str | None], named: str
) -> None:
    changed = {key: value for key, value in {**environ, **change}.items() if value is not None}
    with pytest.raises(UserError, match=re.escape(named)):
        rank_env(changed)


ALL = sorted({**TORCHRUN, **DEEPSPEED, **SLURM, **OPEN_MPI, **HYDRA})
VALUES = st.one_of(st.text(max_size=8), st.integers(-2, 40).map(str), st.just("2(x3),1"))


@given(st.dictionaries(st.sampled_from(ALL), VALUES))
def test_whatever_the_environment_holds(environ: dict[str, Any]) -> None:
    try:
        found = rank_env(environ)
    except UserError:
        return
    if found is not None:
        assert 0 <= found.rank < found.world
        assert 0 <= found.local < found.per_host <= found.world


def test_a_place_is_written_in_torchs_names() -> None:
    environ = {**OPEN_MPI, **MASTER}
    export_torch_env(environ)
    assert TORCHRUN.items() <= environ.items()
    assert rank_env(environ) == PLACE
    alone = {"HOME": "/root"}
    export_torch_env(alone)
    assert alone == {"HOME": "/root"}


@pytest.mark.parametrize("command", ["train", "evaluate", "predict --input x --output y"])
@pytest.mark.parametrize("environ", [{"RANK": "3"}, {"RANK": "x"}, SLURM | {"SLURM_NODEID": "9"}])
def test_the_command_line_says_what_is_wrong(command: str, environ: dict[str, str]) -> None:
    first, *options = command.split()
    done = subprocess.run(
        [sys.executable, "-m", "ptv2_scale", first, "demo", *options],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **environ},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("ptv2-scale: ")


@pytest.mark.parametrize("environ", [{}, {"TORCHELASTIC_RESTART_COUNT": "0"}])
def test_a_first_start_resumes_as_asked(environ: dict[str, str]) -> None:
    assert [resume_of(asked, environ) for asked in ("never", "auto", "x")] == ["never", "auto", "x"]


def test_torchruns_restart_goes_on() -> None:
    again = {"TORCHELASTIC_RESTART_COUNT": "1"}
    assert [resume_of(asked, again) for asked in ("never", "auto", "x")] == ["auto", "auto", "x"]
