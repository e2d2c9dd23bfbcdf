"""Models and tokenizers of the hub: the files of a repository's root that are read here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from pathlib import Path

from ptv2_scale.hub.errors import explained
from ptv2_scale.hub.growth import report_growth
from ptv2_scale.hub.item import HubItem
from ptv2_scale.hub.repository import list_item, repository
from ptv2_scale.runtime.atomic import write_atomically

_PATTERNS = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt")
_CODE = "*.py"
_INDEX, _PICKLED_INDEX = "model.safetensors.index.json", "pytorch_model.bin.index.json"
_SAFE = frozenset({"model.safetensors", _INDEX})
_BRANCH = "main"


def is_model_file(name: str) -> bool:
    """Whether a file of a model's folder is one that may be read."""
    return any(fnmatch(name, pattern) for pattern in (*_PATTERNS, _CODE))


def local_snapshot(item: HubItem) -> Path | None:
    """The copy that is taken when the hub is not asked; None: there is none, or not all of it."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    ref = _ref(item)
    # What is no branch or tag that the cache knows may be a commit.
    commit = ref.read_text() if ref.is_file() else item.revision or _BRANCH
    folder = repository(item) / "snapshots" / commit
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
    whole = index.removesuffix(".index.json")
    if index not in names or whole in names:  # a file that is whole comes first
        return set()
    try:
        shards = json.loads((folder / index).read_text())["weight_map"].values()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()  # whoever reads it says what is wrong with it
    return {Path(str(one)).name for one in shards}


def download_model(item: HubItem, on_progress: Callable[[int, int], None]) -> Path:
    """The snapshot, once what is not there is downloaded; see `cache.download`."""
    listing = list_item(item)
    sizes = {one.rfilename: one.size or 0 for one in listing.siblings or ()}
    left_out = _left_out(sizes)
    needed = {name: size for name, size in sizes.items() if _is_wanted(item, name, left_out)}
    with explained(str(item)), report_growth(repository(item), listing.sha, needed, on_progress):
        return _snapshot_download(item, listing.sha, left_out)


def _is_wanted(item: HubItem, name: str, left_out: Iterable[str]) -> bool:
    wanted = any(fnmatch(name, pattern) for pattern in _patterns(item))
    return wanted and not any(fnmatch(name, one) for one in left_out)


def _patterns(item: HubItem) -> list[str]:
    return [*_PATTERNS, _CODE] if item.code else [*_PATTERNS]


def _snapshot_download(
    item: HubItem, commit: str, left_out: list[str], local_files_only: bool = False
) -> Path:
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        item.name,
        revision=commit,
        allow_patterns=_patterns(item),
        ignore_patterns=left_out,
        local_files_only=local_files_only,
    )
    return Path(folder)


def set_ref(item: HubItem, folder: Path) -> None:
    """Make a snapshot the one that is found under the item's own revision."""
    if item.revision != folder.name:
        _point(_ref(item), folder.name)


def _point(ref: Path, commit: str) -> None:
    if ref.is_file() and ref.read_text() == commit:
        return
    ref.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(ref, commit)


def _ref(item: HubItem) -> Path:
    return repository(item) / "refs" / (item.revision or _BRANCH)
