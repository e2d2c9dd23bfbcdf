"""What a host is asked to fetch, and what it says while it does.

The question is JSON on standard input: secrets are in it, and so on no command line. The answer is
lines of standard output that begin with `REPORT`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ptv2_scale.hub import Held, HubItem
from ptv2_scale.launchers.node_agent import REPORT


@dataclass(frozen=True)
class Question:
    """What a host is asked.

    Attributes:
        item: what it is to bring.
        commit: at which; None: that of the item's revision, as this host finds it.
        secret: variables for the environment.
    """

    item: HubItem
    commit: str | None
    secret: Mapping[str, str]

    def written(self) -> bytes:
        """As it is sent."""
        return json.dumps({**asdict(self), "secret": dict(self.secret)}).encode()


@dataclass(frozen=True)
class Fetched:
    """What a host has in the end.

    Attributes:
        held: the copy.
        seconds: that it took.
        was_there: nothing had to be downloaded.
    """

    held: Held
    seconds: float
    was_there: bool


@dataclass(frozen=True)
class Word:
    """A line of a host's answer: how far it is, or what it has, or why it has not.

    Attributes:
        done, total: bytes.
        fetched: at the end.
        reason: for people, where it failed.
    """

    done: int = 0
    total: int = 0
    fetched: Fetched | None = None
    reason: str = ""

    def say(self) -> None:
        """Send it."""
        sys.stdout.write(f"{REPORT}{json.dumps(asdict(self), default=str)}\n")
        sys.stdout.flush()

    @classmethod
    def read(cls, line: bytes) -> Word | None:
        """A host's word; None: the line is none."""
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
    held = found["held"]
    return Fetched(**{**found, "held": Held(**{**held, "folder": Path(held["folder"])})})
