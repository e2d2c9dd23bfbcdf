"""Placeholder until the fetch branch is merged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class HubItem:
    """Something on the hub."""

    kind: Literal["model", "dataset"]
    name: str
    revision: str | None = None
    subset: str | None = None

    def __str__(self) -> str:
        subset = "" if self.subset is None else f" ({self.subset})"
        return self.name + subset + ("" if self.revision is None else f" at {self.revision}")


@dataclass(frozen=True)
class Held:
    """What this host's cache has of it."""

    commit: str
    folder: Path
    size: int


def held(item: HubItem) -> Held | None:
    """What this host's cache has of an item."""
    return None


def is_model_file(name: str) -> bool:
    """Whether a file of a model's folder is one that is read."""
    return name.endswith((".json", ".safetensors", ".bin", ".model", ".txt"))
