"""How ranks meet when torchrun has started them again.

Its agent outlives them, and with it the store in which ranks of the start that failed have left
their addresses. Newer ranks would call those: gloo fails, NCCL waits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import register_rendezvous_handler, rendezvous

_SCHEME = "ptv2-scale"


def init_method() -> str | None:
    """The URL by which this process meets the others; None: PyTorch's own will do."""
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if restarts == "0" or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True):
        return None
    register_rendezvous_handler(_SCHEME, _meet)
    return f"{_SCHEME}://start-{restarts}"


def _meet(url: str, timeout: timedelta, **_: Any) -> Iterator[tuple[Store, int, int]]:
    """The agent's store, under names that no earlier start has used."""
    for store, rank, world in rendezvous("env://", timeout=timeout):
        yield PrefixStore(urlsplit(url).netloc, store), rank, world
