"""From what hosts say to what is wrong with them; no host is asked here."""

from __future__ import annotations

from collections.abc import Iterator

from ptv2_scale.launchers.doctor.files import check_hub, check_inputs, check_run_directory
from ptv2_scale.launchers.doctor.finding import Finding, Survey, hosts_with, named
from ptv2_scale.launchers.doctor.network import (
    check_bandwidth,
    check_clocks,
    check_connections,
    check_interfaces,
    check_names,
)
from ptv2_scale.launchers.doctor.resources import check_gpus, check_limits, check_memory
from ptv2_scale.launchers.doctor.software import check_packages, check_python

_CHECKS = (
    check_python,
    check_packages,
    check_inputs,
    check_hub,
    check_run_directory,
    check_memory,
    check_gpus,
    check_limits,
    check_interfaces,
    check_connections,
    check_names,
    check_bandwidth,
    check_clocks,
)


def judge(survey: Survey) -> list[Finding]:
    """All findings, in the order of the table."""
    return [*_reached(survey), *(one for check in _CHECKS for one in check(survey) if survey.facts)]


def _reached(survey: Survey) -> Iterator[Finding]:
    yield from survey.silent.values()
    if survey.facts:
        count = len(survey.facts)
        yield Finding("reached", "ok", f"{count} of {len(survey.slots)}: {named(survey.facts)}")
    machines = {host: one.machine for host, one in survey.facts.items()}
    for machine, hosts in hosts_with(machines):
        if list(machines.values()).count(machine) > 1:
            yield Finding("reached", "note", f"{hosts} are one machine")
