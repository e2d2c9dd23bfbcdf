"""Asking the hosts of a launch, all at once: first what they are, then to meet each other."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ptv2_scale.launchers.doctor.contents import seen
from ptv2_scale.launchers.doctor.facts import Facts, Meeting, Met, Peer, Question, dump, parse
from ptv2_scale.launchers.doctor.finding import Finding, Survey
from ptv2_scale.launchers.host_failure import explain
from ptv2_scale.launchers.hosts import Hosts
from ptv2_scale.launchers.recipe_inputs import Inputs
from ptv2_scale.launchers.remote import Answer, ask
from ptv2_scale.launchers.spec import on_host
from ptv2_scale.runtime.shared_fs_probe import new_probe_name

T = TypeVar("T")

_MODULE = "ptv2_scale.launchers.doctor"
_LOOK_S = 600.0  # data is read whole
_MEET_S = 90.0
_UNPRIVILEGED = 1024


@dataclass(frozen=True)
class Visit:
    """The hosts of a launch, and what they are asked for.

    Attributes:
        hosts: of the launch.
        master: where ranks will meet.
        port: at which they will.
        inputs: what the recipe reads; None: no recipe was given.
        run: the run directory; None: no recipe was given.
    """

    hosts: Hosts
    master: str
    port: int
    inputs: Inputs | None = None
    run: Path | None = None

    def survey(self) -> Survey:
        """Ask all hosts."""
        question, here = self._question()
        answers = self._ask("look", self.hosts.names, dump(question), _LOOK_S)
        facts, silent = _sorted(Facts, answers)
        survey = Survey(
            slots=self.hosts.slots,
            paths=question.paths,
            hub=tuple(question.hub),
            run=question.run,
            gathered=self.inputs is not None and self.inputs.gathered,
            here=here,
            silent=silent,
            facts=facts,
        )
        return self._met(survey, question) if facts else survey

    def _question(self) -> tuple[Question, Mapping[str, str]]:
        if self.inputs is None:
            return Question(None, new_probe_name(), self.master), {}
        here = {what: seen(path) for what, path in self.inputs.paths.items()}
        question = Question(
            run=str(self.run),
            mark=new_probe_name(),
            master=self.master,
            paths={what: str(path) for what, path in self.inputs.paths.items()},
            hub=list(self.inputs.hub),
        )
        return question, {what: one.digest for what, one in here.items() if not one.problem}

    def _met(self, survey: Survey, question: Question) -> Survey:
        """The same, once the hosts that answered have met."""
        addresses = {
            name: facts.link.address for name, facts in survey.facts.items() if facts.link.address
        }
        meeting = Meeting(
            peers=[
                Peer(name, address, _port(self.port + number))
                for number, (name, address) in enumerate(addresses.items())
            ],
            master=self.master,
            token=secrets.token_hex(16),
            mark=question.mark,
            run=question.run,
        )
        answers = self._ask("meet", addresses, dump(meeting), _MEET_S)
        met, silent = _sorted(Met, answers)
        return replace(survey, met=met, silent={**survey.silent, **silent})

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
