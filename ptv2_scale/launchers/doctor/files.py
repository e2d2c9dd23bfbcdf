"""Checks of what ranks read and write."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from ptv2_scale.launchers.doctor.facts import RunFolder
from ptv2_scale.launchers.doctor.finding import (
    Finding,
    HostProblem,
    Level,
    SurveyResult,
    amount,
    findings,
    hosts_with,
    named,
    others,
)

_LEAST_FREE = 64 << 20  # bytes: the demo's checkpoints and logs would just fit
_LITTLE_FREE = 5 << 30  # bytes: three checkpoints of 100 tokens in each layer of a 10B model
_FEW_FILES = 100
_ROOM = "Make room there, or set run=PATH to another file system."
_SET_RUN = "Set run=PATH to a folder that can be written on every host."
_FETCH = "Run: ptv2-scale fetch RECIPE, with the same hosts."


def check_inputs(survey: SurveyResult) -> Iterator[Finding]:
    """Files and folders are there on all hosts, and the same."""
    for what, path in survey.paths.items():
        yield from _check_path(survey, what, path)


def _check_path(survey: SurveyResult, what: str, path: str) -> Iterator[Finding]:
    found = {host: one.paths[what] for host, one in survey.facts.items()}
    missing = [host for host, seen in found.items() if seen.problem]
    fix = _copy_advice(path, missing)
    yield from findings(
        what,
        ((host, HostProblem("FAIL", f"{path}: {found[host].problem}", fix)) for host in missing),
    )
    there = {host: seen for host, seen in found.items() if not seen.problem}
    if not there:
        return
    usual, odd = others({host: seen.digest for host, seen in there.items()})
    if odd:
        size = amount(next(one.size for one in there.values() if one.digest == usual))
        fix = _copy_advice(path, odd)
        for host in odd:
            text = f"{path}: other contents ({amount(there[host].size)}) than elsewhere ({size})"
            yield Finding(what, "FAIL", f"{host}: {text}", fix)
    elif survey.local.get(what, usual) != usual:
        text = f"{path}: other contents on the hosts than here, where the launch was checked"
        yield Finding(what, "FAIL", text, _copy_advice(path, there))
    elif not missing:
        copies = len({seen.identity for seen in there.values()}) > 1
        size = amount(next(iter(there.values())).size)
        how = "the same contents, each host reads its own copy" if copies else "the same on all"
        yield Finding(what, "note" if copies else "ok", f"{path}: {size}, {how}")


def _copy_advice(path: str, hosts: Iterable[str]) -> str:
    absolute = shlex.quote(str(Path(path).absolute()))
    return (
        f"Bring it to {named(hosts)} as {absolute} (rsync -a --relative), or keep it where all"
        " hosts see it."
    )


def check_hub(survey: SurveyResult) -> Iterator[Finding]:
    """What comes from the hub is in each host's cache, at one commit."""
    for number, item in enumerate(survey.hub):
        found = {host: one.hub[number] for host, one in survey.facts.items()}
        missing = [host for host, commit in found.items() if commit is None]
        if missing:
            text = f"{named(missing)}: not, or not whole, in the cache of the hub: {item}"
            yield Finding("hub", "FAIL", text, _FETCH)
        commits = {host: commit for host, commit in found.items() if commit is not None}
        usual, odd = others(commits) if commits else (None, {})
        for commit, hosts in hosts_with(odd):
            text = f"{hosts}: {item} at commit {commit}, where others have {usual}"
            yield Finding("hub", "FAIL", text, _FETCH)
        if not missing and not odd:
            yield Finding("hub", "ok", f"{item}: commit {usual}")


def check_run_directory(survey: SurveyResult) -> Iterator[Finding]:
    """It can be written, there is room, and who shares it."""
    folders = {host: one.run for host, one in survey.facts.items() if one.run is not None}
    problems = [
        (host, HostProblem("FAIL", f"{one.nearest} cannot be written: {one.problem}", _SET_RUN))
        for host, one in folders.items()
        if one.problem
    ]
    yield from findings("run directory", problems)
    if folders and not problems:
        yield _shared(survey)
    little = [(host, one) for host, folder in folders.items() for one in _little_room(folder)]
    yield from findings("disk", little)
    if folders and not little:
        host, least = min(folders.items(), key=lambda one: one[1].free)
        yield Finding("disk", "ok", f"{amount(least.free)} or more are left, least on {host}")


def _shared(survey: SurveyResult) -> Finding:
    unknown = survey.facts.keys() - survey.probed.keys()
    if unknown:
        hosts = named(host for host in survey.facts if host in unknown)
        text = f"{survey.run}: not known whether {hosts} sees the same as others"
        return Finding("run directory", "note", text)
    sight = {host: tuple(result.sees) for host, result in survey.probed.items()}
    groups = [hosts for _, hosts in hosts_with(sight)]
    if len(groups) < 2:
        return Finding("run directory", "ok", f"{survey.run}: all hosts see the same")
    text = f"{survey.run}: not shared ({' | '.join(groups)}); each keeps its own ranks' parts"
    return Finding(
        "run directory", "note", f"{text}, and the first host the metrics and the export"
    )


def _little_room(folder: RunFolder) -> Iterator[HostProblem]:
    if folder.files_free is not None and folder.files_free < _FEW_FILES:
        yield HostProblem(
            "FAIL", f"room for {folder.files_free} more files at {folder.nearest}", _ROOM
        )
    if folder.free < _LITTLE_FREE:
        level: Level = "FAIL" if folder.free < _LEAST_FREE else "warn"
        yield HostProblem(level, f"{amount(folder.free)} left at {folder.nearest}", _ROOM)
