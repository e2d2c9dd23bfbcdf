"""Checks of Python and packages: all hosts must run the same."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from ptv2_scale.launchers.doctor.finding import Finding, SurveyResult, hosts_with, others
from ptv2_scale.launchers.doctor.host_facts import OWN_CODE


def check_python(survey: SurveyResult) -> Iterator[Finding]:
    """The same version on the same kind of machine."""
    found = {host: f"{one.python}, {one.system}" for host, one in survey.facts.items()}
    usual, odd = others(found)
    for value, hosts in hosts_with(odd):
        yield Finding(
            "python",
            "FAIL",
            f"{hosts}: {value}, where others have {usual}",
            f"Make {sys.executable} the same Python there.",
        )
    if not odd:
        yield Finding("python", "ok", f"{usual}, {sys.executable}")


def check_packages(survey: SurveyResult) -> Iterator[Finding]:
    """The same version of each package that ranks need, and the same code of this one."""
    wrong = False
    for package in dict.fromkeys(name for one in survey.facts.values() for name in one.packages):
        usual, odd = others(
            {host: one.packages.get(package, "unknown") for host, one in survey.facts.items()}
        )
        for version, hosts in hosts_with(odd):
            wrong = True
            text = f"{hosts}: {package} {version}, where others have {usual}"
            yield Finding("packages", "FAIL", text, _fix(package, usual))
    if not wrong:
        first = next(iter(survey.facts.values())).packages
        shown = ", ".join(
            f"{name} {first[name]}" for name in ("torch", "deepspeed") if name in first
        )
        yield Finding("packages", "ok", f"{len(first)} the same on all: {shown}, ...")


def _fix(package: str, version: str) -> str:
    if package == OWN_CODE:
        return "Bring the same version, or the same commit, of ptv2_scale to each host."
    return f"There: {sys.executable} -m pip install '{package}=={version}'"
