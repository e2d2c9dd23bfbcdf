"""What a host is asked to fetch, and what it answers while it does.

The request is JSON on standard input: secrets are in it, and so on no command line. The answer is
lines of standard output that begin with `REPORT`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ptv2_scale.hub import CachedSnapshot, HubItem
from ptv2_scale.launchers.node_agent import REPORT


@dataclass(frozen=True)
class FetchRequest:
    """What a host is asked for.

    Attributes:
        item: item that it is to download.
        commit: commit of the item; None: that of its revision, as this host finds it.
        secret: variables for the environment.
    """

    item: HubItem
    commit: str | None
    secret: Mapping[str, str]

    def to_json(self) -> bytes:
        """As it is sent."""
        return json.dumps({**asdict(self), "secret": dict(self.secret)}).encode()


@dataclass(frozen=True)
class Fetched:
    """What a host has in the end.

    Attributes:
        snapshot: snapshot in its cache.
        seconds: wall-clock time that it took.
        was_there: whether nothing had to be downloaded.
    """

    snapshot: CachedSnapshot
    seconds: float
    was_there: bool


@dataclass(frozen=True)
class Message:
    """A line of a host's answer: how far it is, or what it has, or why it has not.

    Attributes:
        done, total: bytes that are there, and bytes of all.
        fetched: the result, in the last message.
        reason: text for people, where it failed.
    """

    done: int = 0
    total: int = 0
    fetched: Fetched | None = None
    reason: str = ""

    def send(self) -> None:
        """Write it to standard output, which whoever asked reads."""
        sys.stdout.write(f"{REPORT}{json.dumps(asdict(self), default=str)}\n")
        sys.stdout.flush()

    @classmethod
    def parse(cls, line: bytes) -> Message | None:
        """The message in a line of output; None: there is none."""
        text = line.decode(errors="replace")
        if not text.startswith(REPORT):
            return None
        try:
            found: dict[str, Any] = json.loads(text.removeprefix(REPORT))
            return cls(**{**found, "fetched": _fetched(found["fetched"])})
        except (ValueError, TypeError, KeyError):
            return None


def _fetched(found: dict[str, Any] | None) -> Fetched | None:
    if found is None:
        return None
    snapshot = found["snapshot"]
    snapshot = CachedSnapshot(**{**snapshot, "folder": Path(snapshot["folder"])})
    return Fetched(**{**found, "snapshot": snapshot})
