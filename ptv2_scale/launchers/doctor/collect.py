"""Asking the hosts of a launch, all at once: first for facts, then to probe the network."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ptv2_scale.launchers.doctor.contents import facts_of_path
from ptv2_scale.launchers.doctor.facts import (
    HostFacts,
    HostQuery,
    NetworkProbe,
    Peer,
    ProbeResult,
    dump,
    parse,
)
from ptv2_scale.launchers.doctor.finding import Finding, SurveyResult
from ptv2_scale.launchers.host_failure import explain
from ptv2_scale.launchers.hosts import Hosts
from ptv2_scale.launchers.recipe_inputs import Inputs
from ptv2_scale.launchers.remote import Answer, ask
from ptv2_scale.launchers.spec import on_host
from ptv2_scale.runtime.shared_fs_probe import new_probe_name

T = TypeVar("T")

_MODULE = "ptv2_scale.launchers.doctor"
_FACTS_S = 600.0  # data is read whole
_PROBE_S = 90.0
_UNPRIVILEGED = 1024


@dataclass(frozen=True)
class HostSurvey:
    """The hosts of a launch, and what they are asked for.

    Attributes:
        hosts: hosts of the launch.
        master: name or address of the first host, where ranks will meet.
        port: port at which they will.
        inputs: files and hub items that the recipe reads; None: no recipe was given.
        run: the run directory; None: no recipe was given.
    """

    hosts: Hosts
    master: str
    port: int
    inputs: Inputs | None = None
    run: Path | None = None

    def collect(self) -> SurveyResult:
        """What all hosts answer."""
        query, local = self._query()
        answers = self._ask("host_facts", self.hosts.names, dump(query), _FACTS_S)
        facts, silent = _sorted(HostFacts, answers)
        survey = SurveyResult(
            slots=self.hosts.slots,
            paths=query.paths,
            hub=tuple(query.hub),
            run=query.run,
            gathered=self.inputs is not None and self.inputs.gathered,
            dtype=None if self.inputs is None else self.inputs.dtype,
            local=local,
            silent=silent,
            facts=facts,
        )
        return self._probed(survey, query) if facts else survey

    def _query(self) -> tuple[HostQuery, Mapping[str, str]]:
        if self.inputs is None:
            return HostQuery(None, new_probe_name(), self.master), {}
        local = {what: facts_of_path(path) for what, path in self.inputs.paths.items()}
        query = HostQuery(
            run=str(self.run),
            probe_name=new_probe_name(),
            master=self.master,
            paths={what: str(path) for what, path in self.inputs.paths.items()},
            hub=list(self.inputs.hub),
        )
        return query, {what: one.digest for what, one in local.items() if not one.problem}

    def _probed(self, survey: SurveyResult, query: HostQuery) -> SurveyResult:
        """The same, once the hosts that answered have probed the network."""
        addresses = {
            name: facts.interface.address
            for name, facts in survey.facts.items()
            if facts.interface.address
        }
        probe = NetworkProbe(
            peers=[
                Peer(name, address, _port(self.port + number))
                for number, (name, address) in enumerate(addresses.items())
            ],
            master=self.master,
            token=secrets.token_hex(16),
            probe_name=query.probe_name,
            run=query.run,
        )
        answers = self._ask("network_probe", addresses, dump(probe), _PROBE_S)
        probed, silent = _sorted(ProbeResult, answers)
        return replace(survey, probed=probed, silent={**survey.silent, **silent})

    def _ask(
        self, action: str, names: Iterable[str], asked: bytes, timeout: float
    ) -> dict[str, Answer]:
        commands = {
            name: on_host(name, Path.cwd(), self.hosts.variables, _MODULE, action) for name in names
        }
        return ask(self.hosts.remote, commands, stdin=asked, timeout=timeout)


def _port(number: int) -> int:
    """The first host's own; for the others the next ones, all on hosts of their own."""
    return number if number < 1 << 16 else _UNPRIVILEGED + number % (1 << 16)


def _sorted(
    kind: type[T], answers: Mapping[str, Answer]
) -> tuple[dict[str, T], dict[str, Finding]]:
    """What hosts said, and why others said nothing."""
    said, silent = {}, {}
    for host, answer in answers.items():
        value = parse(kind, answer.out) if answer.code == 0 else None
        if value is None:
            why = explain(answer)
            text = f"{host}: {why.reason}"
            silent[host] = Finding("reached", "FAIL", text, why.fix, lost=why.lost)
        else:
            said[host] = value
    return said, silent
