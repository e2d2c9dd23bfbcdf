"""This host's cache of the hub, of models and data sets alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ptv2_scale.hub import data_sets, models
from ptv2_scale.hub.errors import UnreachableError, explained
from ptv2_scale.hub.growth import report_growth
from ptv2_scale.hub.item import CachedSnapshot, HubItem
from ptv2_scale.hub.repository import commit_of, repository


def cached_snapshot(item: HubItem) -> CachedSnapshot | None:
    """What this host's cache has of an item; None: nothing, or not all. The hub is not asked.

    Of a data set it is what `datasets.load_dataset` takes when it is offline.
    """
    if item.kind == "model":
        folder = models.local_snapshot(item)
    else:
        folder = data_sets.offline_copy(item.name, item.subset)
        if folder is not None and item.revision not in (None, folder.name):
            return None
    return None if folder is None else CachedSnapshot.of(folder)


def download(item: HubItem, on_progress: Callable[[int, int], None]) -> CachedSnapshot:
    """An item in this host's cache; only what is not there is downloaded.

    Where the hub cannot be asked, what the cache has is taken.

    Args:
        item: what to download.
        on_progress: called every second with bytes that are there, and bytes of all; 0: not known.

    Raises:
        UserError: it cannot be had; says why, and what to do.
    """
    fetch = models.download_model if item.kind == "model" else _download_data_set
    try:
        folder = fetch(item, on_progress)
    except UnreachableError:
        found = cached_snapshot(item)
        if found is None:
            raise
        return found
    pin_revision(item, folder)
    return CachedSnapshot.of(folder)


def _download_data_set(item: HubItem, on_progress: Callable[[int, int], None]) -> Path:
    commit = commit_of(item)
    with explained(str(item)), report_growth(repository(item), commit, {}, on_progress):
        return data_sets.prepare(item.name, item.subset, commit)


def pin_revision(item: HubItem, folder: Path) -> None:
    """Make a snapshot the one that ranks find under the item's own revision when they are offline.

    Args:
        item: the item, with or without a revision.
        folder: the snapshot's.

    Raises:
        UserError: the cache cannot be written.
    """
    with explained(str(item)):
        if item.kind == "dataset":
            data_sets.make_newest(item.name, item.subset, folder)
        else:
            models.set_ref(item, folder)
