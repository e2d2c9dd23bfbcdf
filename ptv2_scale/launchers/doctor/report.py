"""The table of findings, and the exit code that they come to."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from ptv2_scale.launchers.doctor.finding import Finding
from ptv2_scale.launchers.doctor.judge import judge
from ptv2_scale.launchers.doctor.visit import Visit

_DONE, _REFUSED, _FAILED = 0, 2, 3


def table(findings: Sequence[Finding]) -> str:
    """Findings for people: level, check, what was found; below it how to mend it."""
    width = max(len(one.check) for one in findings)
    lines = []
    for one in findings:
        lines.append(f"{one.level:<4}  {one.check:<{width}}  {one.text}")
        if one.mend:
            lines.append(f"{'':<4}  {'':<{width}}  -> {one.mend}")
    return "\n".join(lines)


def preflight(visit: Visit) -> int:
    """Look at the hosts before a launch; returns the exit code, 0 where ranks can run.

    Only what is in the way is told of.
    """
    began = time.monotonic()
    findings = judge(visit.survey())
    code = exit_code(findings)
    warnings = [one for one in findings if one.level == "warn"]
    if code or warnings:
        sys.stderr.write(table(findings if code else warnings) + "\n")
    took = time.monotonic() - began
    way = "to be mended first (--no-doctor starts all the same)" if code else "nothing in the way"
    sys.stderr.write(f"ptv2-scale doctor: {len(visit.hosts.slots)} hosts, {way}; {took:.1f} s\n")
    sys.stderr.flush()
    return code


def exit_code(findings: Sequence[Finding]) -> int:
    """0: ranks can run; 2: something is to be mended; 3: a host does not answer."""
    failed = [one for one in findings if one.level == "FAIL"]
    if not failed:
        return _DONE
    return _FAILED if any(one.lost for one in failed) else _REFUSED
