"""What a check reads and finds, and words for several hosts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from ptv2_scale.hub import HubItem
from ptv2_scale.launchers.doctor.facts import HostFacts, ProbeResult

T = TypeVar("T")
Level = Literal["ok", "note", "warn", "FAIL"]

_SHOWN = 8  # hosts by name


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        check: what was checked.
        level: FAIL: ranks would not run; warn: they may not, or badly.
        text: what was found, hosts by name.
        fix: what to do.
        lost: whether it is a host that does not answer.
    """

    check: str
    level: Level
    text: str
    fix: str = ""
    lost: bool = False


@dataclass(frozen=True)
class HostProblem:
    """What is wrong on a host, in words that others may have in common with it; see `Finding`."""

    level: Level
    text: str
    fix: str


@dataclass(frozen=True)
class SurveyResult:
    """All that is known of the hosts of a launch.

    Attributes:
        slots: number of ranks of each host; the first one's comes first.
        paths: files and folders that ranks read, by what they are.
        hub: models and data sets that ranks take from the hub's cache.
        run: the run directory.
        gathered: whether ranks gather the backbone from all hosts in every pass.
        dtype: the recipe's `backbone.dtype`; None: no recipe was given.
        local: digest of each path as the launching host sees it, where it does.
        silent: finding for each host that did not answer.
        facts: answers of the others, in the same order.
        probed: results of those of them that could probe the network.
    """

    slots: Mapping[str, int]
    paths: Mapping[str, str] = field(default_factory=dict)
    hub: tuple[HubItem, ...] = ()
    run: str | None = None
    gathered: bool = False
    dtype: str | None = None
    local: Mapping[str, str] = field(default_factory=dict)
    silent: Mapping[str, Finding] = field(default_factory=dict)
    facts: Mapping[str, HostFacts] = field(default_factory=dict)
    probed: Mapping[str, ProbeResult] = field(default_factory=dict)


def others(values: Mapping[str, T]) -> tuple[T, dict[str, T]]:
    """What most hosts have (of equals: what the first has), and the hosts that do not."""
    usual = Counter(values.values()).most_common(1)[0][0]
    return usual, {host: value for host, value in values.items() if value != usual}


def hosts_with(values: Mapping[str, T]) -> Iterator[tuple[T, str]]:
    """Each value that comes, and the hosts that have it in words."""
    for value in dict.fromkeys(values.values()):
        yield value, named(host for host, one in values.items() if one == value)


def findings(check: str, problems: Iterable[tuple[str, HostProblem]]) -> Iterator[Finding]:
    """A line for each problem, with all hosts that have it.

    Args:
        check: what was checked.
        problems: (host, its problem).
    """
    hosts: dict[HostProblem, list[str]] = {}
    for host, problem in problems:
        hosts.setdefault(problem, []).append(host)
    for problem, having in hosts.items():
        text = f"{named(having)}: {problem.text}"
        yield Finding(check, problem.level, text, problem.fix)


def named(hosts: Iterable[str]) -> str:
    """Hosts in words: the first ones by name."""
    names = list(hosts)
    more = len(names) - _SHOWN
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:_SHOWN])} and {more} more"


def amount(count: float) -> str:
    """Bytes in words."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count:.0f} bytes"
        count /= 1000
    return f"{count:.3g} TB" if count < 1000 else f"{count:.0f} TB"
