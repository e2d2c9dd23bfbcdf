"""Jobs are handed to sbatch, with scripts of our own alone, and options that go with Slurm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from launching import request
from slurm_script_jobs import FULL, PLAIN

from ptv2_scale import LaunchOptions, launch
from ptv2_scale.launchers.backends.slurm import SlurmHosts, job_of, submit
from ptv2_scale.launchers.events import Event, Finished, JobSubmitted
from ptv2_scale.launchers.slurm_script import render
from ptv2_scale.runtime.errors import UserError


def sbatch(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "sbatch"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_submitting_replaces_scripts_of_ours_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch(tmp_path, 'echo "$HF_TOKEN $*" > "${0%/*}/seen"; echo "41;cluster"', monkeypatch)
    path = tmp_path / "runs" / "rte.sbatch"
    assert submit(render(PLAIN), path, {}) == "41"
    assert submit(render(FULL), path, FULL.variables.secret) == "41"
    assert path.read_text() == render(FULL)
    assert (tmp_path / "seen").read_text() == f"hf_secret --parsable {path}\n"
    path.write_text("#!/bin/sh\nmine\n")
    with pytest.raises(UserError, match="was not made here"):
        submit(render(PLAIN), path, {})
    assert path.read_text() == "#!/bin/sh\nmine\n"


def test_what_sbatch_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sbatch(tmp_path, "echo 'sbatch: error: invalid partition' >&2; exit 1", monkeypatch)
    with pytest.raises(UserError, match="invalid partition"):
        submit(render(PLAIN), tmp_path / "x.sbatch", {})
    assert not (tmp_path / "x.sbatch").exists()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="not installed here"):
        submit(render(PLAIN), tmp_path / "runs" / "x.sbatch", {})
    assert not (tmp_path / "runs").exists()


def test_a_refused_job_leaves_an_older_script_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch(tmp_path, "echo 41", monkeypatch)
    path = tmp_path / "x.sbatch"
    submit(render(PLAIN), path, {})
    sbatch(tmp_path, "exit 1", monkeypatch)
    with pytest.raises(UserError, match="sbatch refused the job"):
        submit(render(PLAIN), path, {})
    assert path.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--transport ssh", "--transport: not with --slurm"),
        ("--ssh-config x", "--ssh-config: not with --slurm"),
        ("--master n1", "--master: not with --slurm"),
        ("--node-rank 0", "--node-rank: not with --slurm"),
        ("--backend torchrun", "see slurm.launcher"),
        ("--max-restarts 1", "slurm.requeues"),
    ],
)
def test_options_that_do_not_go_together(words: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        SlurmHosts().render(request("--slurm", *words.split()))


def test_options_stand_for_the_recipes_section() -> None:
    words = ("--nodes", "4", "--gpus-per-node", "8", "--nproc", "3", "--partition", "a-b")
    settings = job_of(request("--slurm", *words, "--time", "1:00:00")).settings
    assert (settings.nodes, settings.gpus_per_node, settings.ranks) == (4, 8, 3)
    assert (settings.partition, settings.time) == ("a-b", "1:00:00")


def test_several_nodes_are_checked_unless_the_user_says_so() -> None:
    assert job_of(request("--slurm", "--nodes", "2")).doctor
    assert not job_of(request("--slurm", "--nodes", "2", "--no-doctor")).doctor
    assert not job_of(request("--slurm")).doctor


def test_a_launch_ends_with_the_jobs_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch(tmp_path, "echo 41", monkeypatch)
    seen: list[Event] = []
    run = tmp_path / "runs" / "x"
    result = launch(LaunchOptions("demo", (f"run={run}",), slurm=True), seen.append)
    assert (result.exit_code, result.state, result.job) == (0, "submitted", "41")
    assert seen == [
        JobSubmitted("41", run.with_name("x.sbatch"), f"{run}.41.log"),
        Finished(result),
    ]
