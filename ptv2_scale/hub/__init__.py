"""What is taken from the Hugging Face hub: found in this host's cache, or downloaded into it.

The hub's libraries are loaded when they are first used, and PyTorch never.
"""

from ptv2_scale.hub.cache import cached_snapshot, download, pin_revision
from ptv2_scale.hub.errors import FETCH_FIRST, UnreachableError
from ptv2_scale.hub.item import CachedSnapshot, HubItem
from ptv2_scale.hub.models import is_model_file
from ptv2_scale.hub.repository import commit_of

__all__ = [
    "CachedSnapshot",
    "FETCH_FIRST",
    "HubItem",
    "UnreachableError",
    "cached_snapshot",
    "commit_of",
    "download",
    "is_model_file",
    "pin_revision",
]
