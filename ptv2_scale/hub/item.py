"""Something on the Hugging Face hub, and a host's snapshot of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class HubItem:
    """A repository of the hub, or a subset of a data set.

    Attributes:
        kind: kind of the repository.
        name: name on the hub, OWNER/NAME.
        revision: branch, tag or commit; None: the default branch.
        subset: name of a data set's subset.
        code: whether a model's own Python code is wanted too.
    """

    kind: Literal["model", "dataset"]
    name: str
    revision: str | None = None
    subset: str | None = None
    code: bool = False

    def __str__(self) -> str:
        subset = "" if self.subset is None else f" ({self.subset})"
        return self.name + subset + ("" if self.revision is None else f" at {self.revision}")


@dataclass(frozen=True)
class CachedSnapshot:
    """What a host's cache has of an item.

    Attributes:
        commit: commit of the item that the files are of.
        folder: folder of the files, which has the commit's name.
        size: bytes of all files.
    """

    commit: str
    folder: Path
    size: int

    @classmethod
    def of(cls, folder: Path) -> CachedSnapshot:
        """The snapshot in a folder, which has the commit's name."""
        files = (path for path in folder.rglob("*") if path.is_file())
        return cls(folder.name, folder, sum(path.stat().st_size for path in files))
