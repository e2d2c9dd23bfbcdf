"""From what hosts answer to the table of findings, and the exit code that they come to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from ptv2_scale.launchers.doctor.collect import HostSurvey
from ptv2_scale.launchers.doctor.files import (
    check_hub,
    check_inputs,
    check_run_directory,
)
from ptv2_scale.launchers.doctor.finding import Finding, SurveyResult, hosts_with, named
from ptv2_scale.launchers.doctor.network import (
    check_bandwidth,
    check_clocks,
    check_connections,
    check_interfaces,
    check_names,
)
from ptv2_scale.launchers.doctor.resources import (
    check_dtype,
    check_gpus,
    check_limits,
    check_memory,
)
from ptv2_scale.launchers.doctor.software import check_packages, check_python
from ptv2_scale.runtime.exit_codes import DONE, FAILED, INVALID_INPUT

_CHECKS = (
    check_python,
    check_packages,
    check_inputs,
    check_hub,
    check_run_directory,
    check_memory,
    check_gpus,
    check_dtype,
    check_limits,
    check_interfaces,
    check_connections,
    check_names,
    check_bandwidth,
    check_clocks,
)


def run_checks(survey: SurveyResult) -> list[Finding]:
    """All findings, in the order of the table.

    Args:
        survey: what is known of the hosts; none is asked here.
    """
    checks = _CHECKS if survey.facts else ()  # of hosts that do not answer nothing is known
    return [*_unreached(survey), *(one for check in checks for one in check(survey))]


def _unreached(survey: SurveyResult) -> Iterator[Finding]:
    yield from survey.silent.values()
    if survey.facts:
        count = len(survey.facts)
        yield Finding("reached", "ok", f"{count} of {len(survey.slots)}: {named(survey.facts)}")
    machines = {host: one.machine for host, one in survey.facts.items()}
    for machine, hosts in hosts_with(machines):
        if list(machines.values()).count(machine) > 1:
            yield Finding("reached", "note", f"{hosts} are one machine")


def table(findings: Sequence[Finding]) -> str:
    """Findings for people: level, check, what was found; below it how to fix it."""
    width = max((len(one.check) for one in findings), default=0)
    lines = []
    for one in findings:
        lines.append(f"{one.level:<4}  {one.check:<{width}}  {one.text}")
        if one.fix:
            lines.append(f"{'':<4}  {'':<{width}}  -> {one.fix}")
    return "\n".join(lines)


def preflight(survey: HostSurvey) -> tuple[int, str]:
    """Check the hosts before a launch.

    Args:
        survey: the hosts.

    Returns:
        The exit code, 0 where ranks can run, and what is in the way, for people.
    """
    began = time.monotonic()
    findings = run_checks(survey.collect())
    code = exit_code(findings)
    warnings = [one for one in findings if one.level == "warn"]
    lines = [table(findings if code else warnings)] if code or warnings else []
    lines.append(f"ptv2-scale doctor: {summary(findings, survey, time.monotonic() - began)}")
    if code:
        lines.append("ptv2-scale launch: not started. --no-doctor starts all the same.")
    return code, "\n".join(lines)


def summary(findings: Sequence[Finding], survey: HostSurvey, seconds: float) -> str:
    """How many hosts, how much is wrong with them, how long it took."""
    counts = {"FAIL": "to be fixed first", "warn": "to be checked"}
    found = [
        f"{sum(one.level == level for one in findings)} {what}"
        for level, what in counts.items()
        if any(one.level == level for one in findings)
    ]
    hosts = len(survey.hosts.slots)
    return f"{hosts} host{'s' * (hosts > 1)}, {', '.join(found) or 'all well'}; {seconds:.1f} s"


def exit_code(findings: Sequence[Finding]) -> int:
    """0: ranks can run; 2: something is to be fixed; 3: a host does not answer."""
    failed = [one for one in findings if one.level == "FAIL"]
    if not failed:
        return DONE
    return FAILED if any(one.lost for one in failed) else INVALID_INPUT
