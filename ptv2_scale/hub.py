"""What is taken from the Hugging Face hub: found in this host's cache, or downloaded into it.

The hub's libraries are loaded when they are first used, and PyTorch never.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from ptv2_scale import hub_datasets
from ptv2_scale.hub_errors import UnreachableError, explained
from ptv2_scale.hub_growth import telling

_PATTERNS = ["*.json", "*.safetensors", "*.bin", "*.model", "*.txt"]
_INDEX, _PICKLED_INDEX = "model.safetensors.index.json", "pytorch_model.bin.index.json"
_SAFE = frozenset({"model.safetensors", _INDEX})
_BRANCH = "main"
_ASK_S = 30.0


def is_model_file(name: str) -> bool:
    """Whether a file of a model's folder is one that is read."""
    return any(fnmatch(name, pattern) for pattern in _PATTERNS)


@dataclass(frozen=True)
class HubItem:
    """A repository of the hub, or a subset of a data set.

    Attributes:
        kind: of repository.
        name: on the hub.
        revision: branch, tag or commit; None: the default branch.
        subset: of a data set.
    """

    kind: Literal["model", "dataset"]
    name: str
    revision: str | None = None
    subset: str | None = None

    def __str__(self) -> str:
        subset = "" if self.subset is None else f" ({self.subset})"
        return self.name + subset + ("" if self.revision is None else f" at {self.revision}")


@dataclass(frozen=True)
class Held:
    """What a host's cache has of an item.

    Attributes:
        commit: that it is of.
        folder: of its files.
        size: bytes of them.
    """

    commit: str
    folder: Path
    size: int

    @classmethod
    def of(cls, folder: Path) -> Held:
        """The copy in a folder, which has the commit's name."""
        files = (path for path in folder.rglob("*") if path.is_file())
        return cls(folder.name, folder, sum(path.stat().st_size for path in files))


def held(item: HubItem) -> Held | None:
    """What this host's cache has of an item; None: nothing, or not all. The hub is not asked.

    Of a data set it is what `datasets.load_dataset` takes when it is offline.
    """
    if item.kind == "model":
        folder = _snapshot(item)
    else:
        folder = hub_datasets.newest(item.name, item.subset)
        if folder is not None and item.revision not in (None, folder.name):
            return None
    return None if folder is None else Held.of(folder)


def _snapshot(item: HubItem) -> Path | None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    ref = _ref(item)
    # What is no branch or tag that the cache knows may be a commit.
    commit = ref.read_text() if ref.is_file() else item.revision or _BRANCH
    folder = _repository(item) / "snapshots" / commit
    if not folder.is_dir():
        return None
    names = {path.name for path in folder.iterdir()}
    try:  # is all of it there that the hub once listed?
        _snapshot_download(item, commit, _left_out(names), local_files_only=True)
    except LocalEntryNotFoundError:
        return None
    return folder if all(os.path.isfile(folder / one) for one in _shards(folder, names)) else None


def _left_out(names: Iterable[str]) -> list[str]:
    """Patterns of files that are left where they are: folders, and weights that are there twice."""
    return ["*/*", "*.bin"] if _SAFE & set(names) else ["*/*"]


def _shards(folder: Path, names: set[str]) -> set[str]:
    """The weight files that an index names, which is all that tells of them in an old cache."""
    index = _INDEX if names & _SAFE else _PICKLED_INDEX
    if index not in names:
        return set()
    try:
        shards = json.loads((folder / index).read_text())["weight_map"].values()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()  # whoever reads it says what is wrong with it
    return {Path(str(one)).name for one in shards}


def commit_of(item: HubItem) -> str:
    """The commit that an item's revision is now, by the hub.

    Raises:
        UnreachableError: the hub cannot be asked.
        UserError: the hub has no such item, or not for us.
    """
    return str(_listing(item).sha)


def _listing(item: HubItem) -> Any:
    from huggingface_hub import HfApi

    with explained(str(item)):
        return HfApi().repo_info(
            item.name,
            repo_type=item.kind,
            revision=item.revision,
            files_metadata=item.kind == "model",
            timeout=_ASK_S,
        )


def download(item: HubItem, told: Callable[[int, int], None]) -> Held:
    """Bring an item into this host's cache; only what is not there is downloaded.

    Where the hub cannot be asked, what the cache has is taken.

    Args:
        item: what to bring.
        told: hears, every second, how many bytes are there, and of how many; 0: not known.

    Raises:
        UserError: it cannot be had; says why, and what to do.
    """
    bring = _bring_model if item.kind == "model" else _bring_data
    try:
        folder = bring(item, told)
    except UnreachableError:
        found = held(item)
        if found is None:
            raise
        return found
    choose(item, folder)
    return Held.of(folder)


def _bring_model(item: HubItem, told: Callable[[int, int], None]) -> Path:
    listing = _listing(item)
    sizes = {one.rfilename: one.size or 0 for one in listing.siblings or ()}
    left_out = _left_out(sizes)
    needed = {name: size for name, size in sizes.items() if _is_wanted(name, left_out)}
    with explained(str(item)), telling(_repository(item), listing.sha, needed, told):
        return _snapshot_download(item, listing.sha, left_out)


def _is_wanted(name: str, left_out: Iterable[str]) -> bool:
    return any(fnmatch(name, one) for one in _PATTERNS) and not any(
        fnmatch(name, one) for one in left_out
    )


def _snapshot_download(
    item: HubItem, commit: str, left_out: list[str], local_files_only: bool = False
) -> Path:
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        item.name,
        revision=commit,
        allow_patterns=_PATTERNS,
        ignore_patterns=left_out,
        local_files_only=local_files_only,
    )
    return Path(folder)


def _bring_data(item: HubItem, told: Callable[[int, int], None]) -> Path:
    commit = commit_of(item)
    with explained(str(item)), telling(_repository(item), commit, {}, told):
        return hub_datasets.prepare(item.name, item.subset, commit)


def choose(item: HubItem, folder: Path) -> None:
    """Make a copy the one that ranks find under the item's own revision when they are offline.

    Raises:
        UserError: the cache cannot be written.
    """
    with explained(str(item)):
        if item.kind == "dataset":
            hub_datasets.choose(item.name, item.subset, folder)
        elif item.revision != folder.name:
            _point(_ref(item), folder.name)


def _point(ref: Path, commit: str) -> None:
    if ref.is_file() and ref.read_text() == commit:
        return
    ref.parent.mkdir(parents=True, exist_ok=True)
    unfinished = ref.with_name(f"{ref.name}.{os.uname().nodename}.{os.getpid()}")
    unfinished.write_text(commit)
    unfinished.replace(ref)


def _ref(item: HubItem) -> Path:
    return _repository(item) / "refs" / (item.revision or _BRANCH)


def _repository(item: HubItem) -> Path:
    """Where the hub's own libraries keep it."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE).expanduser()
    return cache / "--".join([f"{item.kind}s", *item.name.split("/")])
