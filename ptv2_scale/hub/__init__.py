"""What is taken from the Hugging Face hub: found in this host's cache, or downloaded into it.

The hub's libraries are loaded when they are first used, and PyTorch never.
"""

from ptv2_scale.hub.cache import choose, download, held
from ptv2_scale.hub.errors import FETCH_FIRST, UnreachableError
from ptv2_scale.hub.item import Held, HubItem
from ptv2_scale.hub.models import is_model_file
from ptv2_scale.hub.repository import commit_of

__all__ = [
    "FETCH_FIRST",
    "Held",
    "HubItem",
    "UnreachableError",
    "choose",
    "commit_of",
    "download",
    "held",
    "is_model_file",
]
