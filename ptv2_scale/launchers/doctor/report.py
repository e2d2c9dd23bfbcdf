"""The table of findings, and the exit code that they come to."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ptv2_scale.launchers.doctor.checks import judge
from ptv2_scale.launchers.doctor.collect import Visit
from ptv2_scale.launchers.doctor.finding import Finding
from ptv2_scale.runtime.exit_codes import DONE, FAILED, INVALID_INPUT


def table(findings: Sequence[Finding]) -> str:
    """Findings for people: level, check, what was found; below it how to mend it."""
    width = max(len(one.check) for one in findings)
    lines = []
    for one in findings:
        lines.append(f"{one.level:<4}  {one.check:<{width}}  {one.text}")
        if one.mend:
            lines.append(f"{'':<4}  {'':<{width}}  -> {one.mend}")
    return "\n".join(lines)


def preflight(visit: Visit) -> tuple[int, str]:
    """Check the hosts before a launch.

    Returns:
        The exit code, 0 where ranks can run, and what is in the way, for people.
    """
    began = time.monotonic()
    findings = judge(visit.survey())
    code = exit_code(findings)
    warnings = [one for one in findings if one.level == "warn"]
    told = [*([table(findings if code else warnings)] if code or warnings else [])]
    told.append(f"ptv2-scale doctor: {summary(findings, visit, time.monotonic() - began)}")
    if code:
        told.append("ptv2-scale launch: not started. --no-doctor starts all the same.")
    return code, "\n".join(told)


def summary(findings: Sequence[Finding], visit: Visit, seconds: float) -> str:
    """How many hosts, how much is wrong with them, how long it took."""
    counts = {"FAIL": "to be mended first", "warn": "to be looked at"}
    found = [
        f"{sum(one.level == level for one in findings)} {what}"
        for level, what in counts.items()
        if any(one.level == level for one in findings)
    ]
    hosts = len(visit.hosts.slots)
    return f"{hosts} host{'s' * (hosts > 1)}, {', '.join(found) or 'all well'}; {seconds:.1f} s"


def exit_code(findings: Sequence[Finding]) -> int:
    """0: ranks can run; 2: something is to be mended; 3: a host does not answer."""
    failed = [one for one in findings if one.level == "FAIL"]
    if not failed:
        return DONE
    return FAILED if any(one.lost for one in failed) else INVALID_INPUT
