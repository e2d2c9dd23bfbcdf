"""Asking all hosts for one item after the other, and seeing that all have the same."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ptv2_scale.hub import HubItem, UnreachableError, commit_of
from ptv2_scale.launchers.fetch.protocol import Fetched, Question, Word
from ptv2_scale.launchers.fetch.report import Row
from ptv2_scale.launchers.host_failure import explain
from ptv2_scale.launchers.hosts import Hosts
from ptv2_scale.launchers.remote import Answer, ask
from ptv2_scale.launchers.spec import on_host
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.launch_context import host_name
from ptv2_scale.runtime.progress import Progress

_ASKED = "ptv2_scale.launchers.fetch"


class LostError(Exception):
    """Hosts could not be reached, or did not answer."""


def fetch_all(items: Iterable[HubItem], hosts: Hosts) -> list[Row]:
    """Bring items to all hosts, and see that all have the same.

    Raises:
        UserError: a host cannot have one, or hosts have different commits.
        LostError: a host did not answer.
    """
    return [row for item in items for row in _bring(item, hosts)]


def _bring(item: HubItem, hosts: Hosts) -> list[Row]:
    commit = _commit(item)
    question = Question(item, commit, hosts.variables.secret).written()
    commands = {host: on_host(host, Path.cwd(), hosts.variables, _ASKED) for host in hosts.names}
    at = f"commit {commit}" if commit else "the hub cannot be asked from here, any commit"
    where = hosts.names[0] if len(hosts.names) == 1 else f"{len(hosts.names)} hosts"
    _say(f"{item}: {at}, on {where}")
    heard = _Sum(len(hosts.names))
    try:
        answers = ask(hosts.remote, commands, stdin=question, heard=heard)
    finally:
        heard.progress.end()
    rows = [Row(host, item, one) for host, one in _fetched(answers, hosts.variables.secret)]
    _same_commit(item, rows)
    return rows


def _commit(item: HubItem) -> str | None:
    """The commit for all hosts; None: the hub cannot be asked from here."""
    try:
        return commit_of(item)
    except UnreachableError:
        return None
    except UserError as error:
        raise UserError(f"{host_name()}: {error}") from None


@dataclass
class _Sum:
    """How far all hosts are together; called by the threads that hear them."""

    hosts: int
    progress: Progress = field(default_factory=Progress)
    _done: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, host: str, line: bytes) -> bool:
        word = Word.read(line)
        if word is None or word.fetched is not None or word.reason:
            return False
        with self._lock:
            if word.total and self._done.get(host) != word.done:
                self._done[host] = word.done
                self.progress(sum(self._done.values()), word.total * self.hosts)
        return True


def _fetched(
    answers: Mapping[str, Answer], secret: Mapping[str, str]
) -> Iterator[tuple[str, Fetched]]:
    """What hosts have; if one has not, why."""
    refused: dict[str, list[str]] = {}
    lost: dict[str, list[str]] = {}
    for host, answer in answers.items():
        words = [word for line in answer.out.splitlines() if (word := Word.read(line))]
        last = words[-1] if words else Word()
        if last.fetched is not None:
            yield host, last.fetched
            continue
        why = explain(answer)
        reason = _without(last.reason or f"{why.reason}. {why.fix}", secret)
        target = lost if why.lost and not last.reason else refused
        target.setdefault(reason, []).append(host)
    if refused:
        raise UserError(_listed({**refused, **lost}))
    if lost:
        raise LostError(_listed(lost))


def _listed(reasons: Mapping[str, Sequence[str]]) -> str:
    return "\n".join(f"{', '.join(hosts)}: {reason}" for reason, hosts in reasons.items())


def _without(text: str, secret: Mapping[str, str]) -> str:
    """A text without the secrets that it may quote."""
    for value in filter(None, secret.values()):
        text = text.replace(value, "***")
    return text


def _same_commit(item: HubItem, rows: Sequence[Row]) -> None:
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.fetched.held.commit, []).append(row.host)
    if len(found) > 1:
        one = next(iter(found))
        key = f", or take one for all: backbone.revision={one}" if item.kind == "model" else ""
        raise UserError(
            f"{item}: hosts have different commits, and the hub cannot be asked from here:\n"
            + "\n".join(f"{', '.join(hosts)}: {commit}" for commit, hosts in found.items())
            + f"\nFetch again where the hub can be reached{key}."
        )


def _say(text: str) -> None:
    sys.stderr.write(f"ptv2-scale fetch: {text}\n")
