"""Commands that start something on hosts, or ask them."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict

from ptv2_scale.cli.launch_events import LaunchPrinter
from ptv2_scale.cli.launch_options import launch_options
from ptv2_scale.cli.recipe import inputs, load
from ptv2_scale.launchers.events import Event, Rendered
from ptv2_scale.launchers.options import LaunchOptions
from ptv2_scale.runtime.errors import UserError


def launch(arguments: argparse.Namespace) -> int:
    """Start the ranks of a recipe on one host or many, and restart them after failures."""
    from ptv2_scale.launchers.api import launch

    options = launch_options(arguments)
    if arguments.json:
        return _plan_as_json(options)
    with LaunchPrinter() as printer:
        return launch(options, printer, printer.stop).exit_code


def _plan_as_json(options: LaunchOptions) -> int:
    """Print what a dry run would start, as one line of JSON."""
    from ptv2_scale.launchers.api import launch

    if not options.dry_run:
        raise UserError(
            "--json: shows what would run, with --dry-run. Add it, or leave --json out."
        )
    events: list[Event] = []
    result = launch(options, events.append)
    (rendered,) = (one for one in events if isinstance(one, Rendered))
    plan = {"run_directory": str(result.run_directory), "ranks": sum(rendered.slots)}
    plan |= {"ranks_of_hosts": list(rendered.slots), "commands": rendered.text}
    print(json.dumps(plan))
    return result.exit_code


def doctor(arguments: argparse.Namespace) -> int:
    """Check all hosts of a launch, and report what would make the run fail."""
    from ptv2_scale.launchers.doctor.collect import HostSurvey
    from ptv2_scale.launchers.doctor.report import exit_code, run_checks, summary, table
    from ptv2_scale.launchers.doctor.settings import check_settings
    from ptv2_scale.launchers.hosts import hosts_of, ssh_of
    from ptv2_scale.launchers.rank_group import meeting_place

    config, run = (None, None) if arguments.recipe is None else load(arguments)
    ranks = None if not arguments.slurm else config.slurm.ranks if config else 1
    ssh = ssh_of(arguments.ssh_config, arguments.hostfile)
    hosts = hosts_of(arguments.hostfile, ssh, ranks, os.environ)
    master, port = meeting_place(arguments.master, hosts.master)
    read = None if config is None else inputs(config, arguments.recipe)
    survey, began = HostSurvey(hosts, master, port, read, run), time.monotonic()
    own = [] if config is None else check_settings(config, tuple(hosts.slots.values()))
    findings = [*own, *run_checks(survey.collect())]
    code, seconds = exit_code(findings), time.monotonic() - began
    if arguments.json:
        found = [asdict(one) for one in findings]
        about = {"exit_code": code, "hosts": dict(hosts.slots), "seconds": round(seconds, 3)}
        print(json.dumps({**about, "findings": found}))
        return code
    print(table(findings))
    print(summary(findings, survey, seconds))
    return code


def fetch(arguments: argparse.Namespace) -> int:
    """Download what a recipe needs from the Hugging Face hub to all its hosts, at one commit."""
    from ptv2_scale.launchers.fetch.everywhere import LostError, fetch_all
    from ptv2_scale.launchers.fetch.report import pins, table
    from ptv2_scale.launchers.hosts import hosts_of, ssh_of
    from ptv2_scale.runtime.exit_codes import DONE, FAILED

    config, _ = load(arguments)
    ranks = config.slurm.ranks if arguments.slurm else None
    ssh = ssh_of(arguments.ssh_config, arguments.hostfile)
    hosts = hosts_of(arguments.hostfile, ssh, ranks, os.environ)
    items = inputs(config, arguments.recipe).hub
    if not items:
        print(f"{arguments.recipe}: takes nothing from the hub")
        return DONE
    try:
        rows = fetch_all(items, hosts)
    except LostError as error:
        print(f"ptv2-scale: {error}", file=sys.stderr)
        return FAILED
    print(table(rows), *pins(rows, config.backbone.name), sep="\n")
    return DONE
