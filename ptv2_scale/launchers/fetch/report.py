"""What hosts have, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ptv2_scale.hub import HubItem
from ptv2_scale.launchers.fetch.protocol import Fetched
from ptv2_scale.runtime.terminal import columns


@dataclass(frozen=True)
class HostItem:
    """What a host has of an item."""

    host: str
    item: HubItem
    fetched: Fetched


def table(rows: Sequence[HostItem]) -> str:
    """What hosts have, for people."""
    cells = [("host", "what", "commit", "size", "")]
    for row in rows:
        snapshot, took = row.fetched.snapshot, f"{row.fetched.seconds:.0f} s"
        words = "was there" if row.fetched.was_there else took
        cells.append(
            (row.host, str(row.item), snapshot.commit, f"{snapshot.size / 1e6:.1f} MB", words)
        )
    return columns(cells)


def pins(rows: Sequence[HostItem], backbone: str) -> list[str]:
    """How a recipe keeps the commit of its backbone, where it names none."""
    commits = [
        row.fetched.snapshot.commit
        for row in rows
        if row.item.name == backbone and row.item.revision != row.fetched.snapshot.commit
    ]
    return [f"to stay at this commit: backbone.revision={commits[0]}"] if commits else []
