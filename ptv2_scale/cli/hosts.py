"""Commands that start something on hosts, or ask them."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ptv2_scale.cli.recipe import inputs, load
from ptv2_scale.config import RunConfig

if TYPE_CHECKING:
    from ptv2_scale.launchers.spec import Plan

# Ranks that lose another one notice it after watchdog.silence, and then need some time to end.
_END_S = 40.0


def launch(arguments: argparse.Namespace) -> int:
    """Train on the ranks of one host or many; restart after failures."""
    from ptv2_scale.config.values import seconds
    from ptv2_scale.launchers.node import CONFIG_MADE_BY
    from ptv2_scale.launchers.options import plan_of, slurm_overrides, torchrun_restarts
    from ptv2_scale.launchers.supervise import Supervisor
    from ptv2_scale.runtime.atomic import replace_own
    from ptv2_scale.runtime.launch_context import new_name

    train = ("train", arguments.recipe, *arguments.overrides)
    arguments.overrides = [*arguments.overrides, *slurm_overrides(arguments)]
    config, path = load(arguments)
    if arguments.slurm:
        return _launch_by_slurm(arguments, train, config, path)
    plan = plan_of(arguments, train, path, _devices)
    if arguments.dry_run:
        print(plan.resumed(arguments.resume).describe(new_name()))
        return 0
    if len(plan.hosts) > 1 and not arguments.no_doctor:
        code = _preflight(plan, config, arguments.recipe)
        if code:
            return code
    patience = seconds(config.watchdog.silence) + _END_S
    for file, content in plan.files.items():
        replace_own(file, content, CONFIG_MADE_BY)
    restarts = arguments.max_restarts - torchrun_restarts(arguments)
    supervisor = Supervisor(plan, arguments.resume, restarts, arguments.backoff, patience)
    return supervisor.stay()


def _preflight(plan: Plan, config: RunConfig, recipe: str) -> int:
    from ptv2_scale.launchers.doctor.collect import HostSurvey
    from ptv2_scale.launchers.doctor.report import preflight
    from ptv2_scale.launchers.hosts import Hosts

    slots = {host.name: host.slots for host in plan.group.hosts}
    hosts = Hosts(plan.remote, slots, plan.variables, plan.group.master)
    read = inputs(config, recipe)
    survey = HostSurvey(hosts, plan.group.master, plan.group.port, read, plan.run)
    code, text = preflight(survey)
    print(text, file=sys.stderr, flush=True)
    return code


def _launch_by_slurm(
    arguments: argparse.Namespace, train: tuple[str, ...], config: RunConfig, path: Path
) -> int:
    from ptv2_scale.launchers.options import slurm_job_of
    from ptv2_scale.launchers.slurm import render, submit

    job = slurm_job_of(arguments, train, config.slurm, path)
    script = render(job)
    if arguments.dry_run:
        print(script, end="")
        return 0
    number = submit(script, job.script, job.variables.secret)
    print(f"job {number}: {job.script}\nits output: {job.shown_log(number)}")
    print(f"watch: squeue --jobs={number}\ncancel: scancel {number}")
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """Look at all hosts of a launch, and say what ranks would stumble over."""
    from ptv2_scale.launchers.doctor.collect import HostSurvey
    from ptv2_scale.launchers.doctor.report import exit_code, run_checks, summary, table
    from ptv2_scale.launchers.hosts import hosts_of
    from ptv2_scale.launchers.options import meeting_place, ssh_of

    config, run = (None, None) if arguments.recipe is None else load(arguments)
    ranks = None if not arguments.slurm else config.slurm.ranks if config else 1
    hosts = hosts_of(arguments.hostfile, ssh_of(arguments), ranks, os.environ)
    master, port = meeting_place(arguments.master, hosts.master)
    read = None if config is None else inputs(config, arguments.recipe)
    survey, began = HostSurvey(hosts, master, port, read, run), time.monotonic()
    findings = run_checks(survey.collect())
    print(table(findings))
    print(summary(findings, survey, time.monotonic() - began))
    return exit_code(findings)


def fetch(arguments: argparse.Namespace) -> int:
    """Bring what a recipe takes from the Hugging Face hub to all its hosts, at one commit."""
    from ptv2_scale.launchers.fetch.everywhere import LostError, fetch_all
    from ptv2_scale.launchers.fetch.report import pins, table
    from ptv2_scale.launchers.hosts import hosts_of
    from ptv2_scale.launchers.options import ssh_of

    config, _ = load(arguments)
    ranks = config.slurm.ranks if arguments.slurm else None
    hosts = hosts_of(arguments.hostfile, ssh_of(arguments), ranks, os.environ)
    items = inputs(config, arguments.recipe).hub
    if not items:
        print(f"{arguments.recipe}: takes nothing from the hub")
        return 0
    try:
        rows = fetch_all(items, hosts)
    except LostError as error:
        print(f"ptv2-scale: {error}", file=sys.stderr)
        return 3
    print(table(rows), *pins(rows, config.backbone.name), sep="\n")
    return 0


def _devices() -> int:
    import torch

    return torch.accelerator.device_count() or 1
