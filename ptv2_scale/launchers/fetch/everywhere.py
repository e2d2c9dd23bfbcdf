"""Asking all hosts for one item after the other, and checking that all have the same."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ptv2_scale.hub import HubItem, UnreachableError, commit_of
from ptv2_scale.launchers.fetch.protocol import Fetched, FetchRequest, Message
from ptv2_scale.launchers.fetch.report import HostItem
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


def fetch_all(items: Iterable[HubItem], hosts: Hosts) -> list[HostItem]:
    """Download items on all hosts, and check that all have the same.

    Raises:
        UserError: a host cannot have one, or hosts have different commits.
        LostError: a host did not answer.
    """
    return [row for item in items for row in _fetch_everywhere(item, hosts)]


def _fetch_everywhere(item: HubItem, hosts: Hosts) -> list[HostItem]:
    commit = _commit(item)
    request = FetchRequest(item, commit, hosts.variables.secret).to_json()
    commands = {host: on_host(host, Path.cwd(), hosts.variables, _ASKED) for host in hosts.names}
    at = f"commit {commit}" if commit else "the hub cannot be asked from here, any commit"
    where = hosts.names[0] if len(hosts.names) == 1 else f"{len(hosts.names)} hosts"
    _say(f"{item}: {at}, on {where}")
    progress = _TotalProgress(len(hosts.names))
    try:
        answers = ask(hosts.remote, commands, stdin=request, heard=progress)
    finally:
        progress.shown.end()
    rows = [HostItem(host, item, one) for host, one in _fetched(answers, hosts.variables.secret)]
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
class _TotalProgress:
    """How far all hosts are together; called by the threads that read their output."""

    hosts: int
    shown: Progress = field(default_factory=Progress)
    _done: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, host: str, line: bytes) -> bool:
        message = Message.parse(line)
        if message is None or message.fetched is not None or message.reason:
            return False
        with self._lock:
            if message.total and self._done.get(host) != message.done:
                self._done[host] = message.done
                self.shown(sum(self._done.values()), message.total * self.hosts)
        return True


def _fetched(
    answers: Mapping[str, Answer], secret: Mapping[str, str]
) -> Iterator[tuple[str, Fetched]]:
    """What hosts have; if one has not, why."""
    refused: dict[str, list[str]] = {}
    lost: dict[str, list[str]] = {}
    for host, answer in answers.items():
        messages = [one for line in answer.out.splitlines() if (one := Message.parse(line))]
        last = messages[-1] if messages else Message()
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


def _same_commit(item: HubItem, rows: Sequence[HostItem]) -> None:
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.fetched.snapshot.commit, []).append(row.host)
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
