"""A repository of the hub: what the hub says of it, and where its copies are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ptv2_scale.hub.errors import explained
from ptv2_scale.hub.item import HubItem

_ASK_S = 30.0


def commit_of(item: HubItem) -> str:
    """The commit that an item's revision is now, by the hub.

    Raises:
        UnreachableError: the hub cannot be asked.
        UserError: the hub has no such item, or not for us.
    """
    return str(list_item(item).sha)


def list_item(item: HubItem) -> Any:
    """What the hub says of an item's repository; see `commit_of`."""
    from huggingface_hub import HfApi

    with explained(str(item)):
        return HfApi().repo_info(
            item.name,
            repo_type=item.kind,
            revision=item.revision,
            files_metadata=item.kind == "model",
            timeout=_ASK_S,
        )


def repository(item: HubItem) -> Path:
    """Where the hub's own libraries keep it."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE).expanduser()
    return cache / "--".join([f"{item.kind}s", *item.name.split("/")])
