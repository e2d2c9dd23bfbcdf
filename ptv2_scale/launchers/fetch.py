"""What `ptv2-scale fetch` runs on each host: one item of the hub is brought into its cache.

    python -m ptv2_scale.launchers.fetch        the question as JSON on standard input

Secrets are in the question, and so on no command line. The answer is lines of standard output that
begin with `REPORT`: how far it is, at least every second, and at the end what is there, or why not.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptv2_scale.errors import UserError
from ptv2_scale.launchers.host import DONE, REPORT
from ptv2_scale.launchers.status import REFUSED

if TYPE_CHECKING:
    from ptv2_scale.hub import Held, HubItem


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
    from ptv2_scale.hub import Held

    if found is None:
        return None
    held = found["held"]
    return Fetched(**{**found, "held": Held(**{**held, "folder": Path(held["folder"])})})


def fetch(item: HubItem, commit: str | None) -> Fetched:
    """Bring an item into this host's cache, and make it the one that ranks find offline."""
    from ptv2_scale import hub

    began = time.monotonic()
    pinned = replace(item, revision=commit or item.revision)
    before = hub.held(pinned)
    found = hub.download(pinned, _tell)
    hub.choose(item, found.folder)
    return Fetched(found, time.monotonic() - began, found == before)


def _tell(done: int, total: int) -> None:
    try:
        Word(done, total).say()
    except OSError:  # nobody listens any more
        _drop_unfinished()
        os._exit(REFUSED)


def _drop_unfinished() -> None:
    """Remove the parts of files that this process is writing: the hub's libraries start anew."""
    for handle in Path("/proc/self/fd").iterdir():
        path = Path(os.path.realpath(handle))
        if path.suffix == ".incomplete":
            path.unlink(missing_ok=True)


def main() -> int:
    """Answer one question."""
    asked = json.load(sys.stdin)
    # Before the hub's libraries are loaded: they look at the environment once.
    os.environ.update(asked["secret"])
    os.environ.update(HF_HUB_DISABLE_PROGRESS_BARS="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
    from ptv2_scale.hub import HubItem

    try:
        fetched = fetch(HubItem(**asked["item"]), asked["commit"])
    except UserError as error:
        Word(reason=str(error)).say()
        return REFUSED
    Word(fetched=fetched).say()
    return DONE


if __name__ == "__main__":
    sys.exit(main())
