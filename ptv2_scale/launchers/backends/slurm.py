"""Nodes of a Slurm cluster: a batch script, written from the recipe and handed to sbatch."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ptv2_scale.launchers.array import read_trials
from ptv2_scale.launchers.backends.base import HostBackend, LaunchRequest, variables_for_hosts
from ptv2_scale.launchers.events import Control, JobSubmitted
from ptv2_scale.launchers.options import LaunchOptions, refuse
from ptv2_scale.launchers.result import LaunchResult
from ptv2_scale.launchers.slurm_script import SlurmJob, render
from ptv2_scale.launchers.slurm_text import MADE_BY
from ptv2_scale.runtime.atomic import replace_own
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.exit_codes import DONE

_SUBMIT_S = 120.0


class SlurmHosts(HostBackend):
    """A batch job, or an array of them; it is handed over and not supervised here."""

    name = "slurm"

    def render(self, request: LaunchRequest) -> str:
        """See `HostBackend`."""
        return render(job_of(request))

    def slots(self, request: LaunchRequest) -> tuple[int, ...]:
        """See `HostBackend`."""
        settings = request.config.slurm
        return (settings.ranks,) * settings.nodes

    def run(self, request: LaunchRequest, control: Control) -> LaunchResult:
        """See `HostBackend`."""
        job = job_of(request)
        number = submit(render(job), job.script, job.variables.secret)
        control.emit(JobSubmitted(number, job.script, job.shown_log(number)))
        return LaunchResult(DONE, "submitted", request.run, job=number)


def job_of(request: LaunchRequest) -> SlurmJob:
    """What the job is to run.

    Raises:
        UserError: options do not go together, or a file cannot be read.
    """
    options, settings = request.options, request.config.slurm
    _check(options)
    return SlurmJob(
        settings=settings,
        run=request.run,
        folder=Path.cwd(),
        train=options.train,
        resume=options.resume,
        variables=variables_for_hosts(os.environ),
        trials=() if options.array is None else read_trials(options.array, request.run),
        doctor=settings.nodes > 1 and options.doctor,
    )


def _check(options: LaunchOptions) -> None:
    names = ("transport", "ssh_config", "master", "node_rank")
    refuse(options, names, "not with --slurm. Leave it out.")
    if options.backend != "deepspeed":
        raise UserError(f"--backend {options.backend}: not with --slurm; see slurm.launcher.")
    if options.max_restarts:
        raise UserError("--max-restarts: not with --slurm. A job that was stopped comes back by"
                        " itself (slurm.requeues); one that failed stays where it is.")  # fmt: skip


def submit(script: str, path: Path, secret: Mapping[str, str]) -> str:
    """Write a job's script and hand it to sbatch.

    Args:
        script: its text.
        path: where it is kept; an older one of ours is replaced.
        secret: variables that the script asks for by name.

    Returns:
        The job's number.

    Raises:
        UserError: something else lies there, sbatch is not installed, or it refuses the job; then
            no script is left that was not there before.
    """
    if shutil.which("sbatch") is None:
        raise UserError("sbatch: not installed here. Log in to a host of the cluster.")
    new = not path.exists()
    replace_own(path, script, MADE_BY)
    try:
        return _handed_over(path, secret)
    except UserError:
        if new:
            path.unlink(missing_ok=True)
        raise


def _handed_over(path: Path, secret: Mapping[str, str]) -> str:
    try:
        made = subprocess.run(
            ["sbatch", "--parsable", str(path)],
            env={**os.environ, **secret},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SUBMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"sbatch: no answer in {_SUBMIT_S:g} s. Is the cluster up?") from None
    if made.returncode != 0:
        raise UserError(
            f"sbatch refused the job, whose script --dry-run prints:\n{made.stderr.strip()}"
        )
    return made.stdout.strip().partition(";")[0]
