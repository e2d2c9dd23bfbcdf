"""This host's cache of the hub, of models and data sets alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ptv2_scale.hub import data_sets, models
from ptv2_scale.hub.errors import UnreachableError, explained
from ptv2_scale.hub.growth import telling
from ptv2_scale.hub.item import Held, HubItem
from ptv2_scale.hub.repository import commit_of, repository


def held(item: HubItem) -> Held | None:
    """What this host's cache has of an item; None: nothing, or not all. The hub is not asked.

    Of a data set it is what `datasets.load_dataset` takes when it is offline.
    """
    if item.kind == "model":
        folder = models.newest(item)
    else:
        folder = data_sets.newest(item.name, item.subset)
        if folder is not None and item.revision not in (None, folder.name):
            return None
    return None if folder is None else Held.of(folder)


def download(item: HubItem, told: Callable[[int, int], None]) -> Held:
    """Bring an item into this host's cache; only what is not there is downloaded.

    Where the hub cannot be asked, what the cache has is taken.

    Args:
        item: what to bring.
        told: hears, every second, how many bytes are there, and of how many; 0: not known.

    Raises:
        UserError: it cannot be had; says why, and what to do.
    """
    bring = models.bring if item.kind == "model" else _bring_data
    try:
        folder = bring(item, told)
    except UnreachableError:
        found = held(item)
        if found is None:
            raise
        return found
    choose(item, folder)
    return Held.of(folder)


def _bring_data(item: HubItem, told: Callable[[int, int], None]) -> Path:
    commit = commit_of(item)
    with explained(str(item)), telling(repository(item), commit, {}, told):
        return data_sets.prepare(item.name, item.subset, commit)


def choose(item: HubItem, folder: Path) -> None:
    """Make a copy the one that ranks find under the item's own revision when they are offline.

    Raises:
        UserError: the cache cannot be written.
    """
    with explained(str(item)):
        if item.kind == "dataset":
            data_sets.choose(item.name, item.subset, folder)
        else:
            models.choose(item, folder)
