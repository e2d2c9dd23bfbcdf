"""Checks of the network between hosts, and of their clocks."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from ptv2_scale.launchers.doctor.finding import (
    Finding,
    HostProblem,
    SurveyResult,
    amount,
    findings,
    hosts_with,
    named,
)
from ptv2_scale.launchers.doctor.reachability import SLOW_S

_CLOCK_S = 2.0

_UNSET = "Unset the variable, or set it to one of these."
_NAME = "Put the name into DNS or /etc/hosts there, or give --master ADDRESS:PORT."
_NAMES = (
    "Put all hosts' addresses into /etc/hosts there, or fix its name server (/etc/resolv.conf)."
)
_MEETING_PLACE = (
    "Open the port in the firewall, or give --master ADDRESS:PORT that all hosts reach and nobody"
    " listens at."
)


def check_interfaces(survey: SurveyResult) -> Iterator[Finding]:
    """Each host has one that leads to the others."""
    interfaces = {host: one.interface for host, one in survey.facts.items()}
    problems = [
        (host, HostProblem("FAIL", one.problem, _UNSET if one.chosen_by else _NAME))
        for host, one in interfaces.items()
        if one.problem
    ]
    yield from findings("interface", problems)
    if not problems:
        names = {host: one.name for host, one in interfaces.items()}
        shown = "; ".join(f"{name} ({hosts})" for name, hosts in hosts_with(names))
        yield Finding("interface", "ok", shown)


def check_connections(survey: SurveyResult) -> Iterator[Finding]:
    """Every host can connect to every other one, and to the place where ranks meet."""
    if len(survey.slots) < 2:
        return
    yield from findings(
        "meeting place",
        (
            (host, HostProblem("FAIL", result.rendezvous_problem, _MEETING_PLACE))
            for host, result in survey.probed.items()
            if result.rendezvous_problem
        ),
    )
    broken = list(_broken(survey))
    yield from (Finding("connections", "FAIL", text, fix) for text, fix in broken)
    if len(survey.probed) > 1 and not broken:
        count = len(survey.probed)
        yield Finding("connections", "ok", f"all {count * (count - 1)} between {count} hosts")


def _broken(survey: SurveyResult) -> Iterator[tuple[str, str]]:
    """Hosts that others do not reach, and from where."""
    for host in survey.facts:
        failed = {
            one: result.unreached[host]
            for one, result in survey.probed.items()
            if host in result.unreached
        }
        if failed:
            reasons = "; ".join(dict.fromkeys(failed.values()))
            yield f"{named(failed)} cannot reach {host}: {reasons}", _fix_interface(survey, host)


def _fix_interface(survey: SurveyResult, host: str) -> str:
    interface = survey.facts[host].interface
    if interface.chosen_by:
        return (
            f"{interface.chosen_by}={interface.name} chooses {interface.address} on {host}: unset"
            " it, or set it to an interface that leads to the other hosts."
        )
    return (
        f"{interface.name} with {interface.address} was chosen on {host}: open the firewall between"
        " the hosts (ranks use any port), or set GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME to"
        " another."
    )


def check_names(survey: SurveyResult) -> Iterator[Finding]:
    """No host waits for a name server that does not answer."""
    slow = [host for host, result in survey.probed.items() if result.reverse_dns > SLOW_S]
    if slow:
        text = f"{named(slow)}: looking up the name of another host's address takes long"
        yield Finding("names", "warn", f"{text}; each rank waits for it as it starts", _NAMES)


def check_bandwidth(survey: SurveyResult) -> Iterator[Finding]:
    """What one TCP stream carries from each host to the next, all at once."""
    found = {host: result.bandwidth for host, result in survey.probed.items() if result.bandwidth}
    if not found:
        return
    slowest = min(found, key=lambda host: found[host])
    least, usual = found[slowest], statistics.median(found.values())
    text = f"{amount(least)}/s or more to the next host, least from {slowest}"
    if least < usual / 3:
        fix = "See there with `ethtool` at what speed the interface runs, and what else uses it."
        yield Finding("bandwidth", "warn", f"{text}, where others have {amount(usual)}/s", fix)
    else:
        yield Finding("bandwidth", "ok", f"{text}{_meaning(survey, least)}")


def _meaning(survey: SurveyResult, bandwidth: float) -> str:
    """How long ranks would wait for the backbone.

    ZeRO-3 gathers each weight for the forward pass and again for the backward pass, and of `hosts`
    equal shares all but one come from other hosts.
    """
    backbone = next(iter(survey.facts.values())).paths.get("backbone")
    if not survey.gathered or backbone is None:
        return ""
    hosts = len(survey.facts)
    seconds = 2 * backbone.size * (hosts - 1) / hosts / bandwidth
    if seconds < 1:
        return ""
    return (
        f"; without RDMA about {seconds:.0f} s of each micro-batch go by gathering"
        f" {amount(backbone.size)} twice: deepspeed: zero3_hpz spares that"
    )


def check_clocks(survey: SurveyResult) -> Iterator[Finding]:
    """All within some seconds of the first host's."""
    if len(survey.probed) < 2:
        return
    first, result = next(iter(survey.probed.items()))
    for host, seconds in result.clock.items():
        if abs(seconds) > _CLOCK_S:
            way = "ahead of" if seconds > 0 else "behind"
            text = f"{host}: {abs(seconds):.1f} s {way} {first}"
            fix = "Start a time service there (chronyd, ntpd): logs and files mislead."
            yield Finding("clocks", "warn", text, fix)
    if result.clock and all(abs(seconds) <= _CLOCK_S for seconds in result.clock.values()):
        widest = max(0.001, *map(abs, result.clock.values()))  # an answer takes about as long
        yield Finding("clocks", "ok", f"within {1000 * widest:.0f} ms of {first}'s")
