"""Modules that are made without memory for their parameters."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from accelerate import init_empty_weights

_LOCK = threading.RLock()


@contextmanager
def empty_parameters() -> Iterator[None]:
    """Parameters of modules that are made inside are on the meta device; buffers are real.

    One thread at a time: accelerate replaces `nn.Module.register_parameter` for the whole process,
    and of two threads inside at once the later one would put the replacement back for good, as
    when a sweep opens the recipes of runs that it starts together.
    """
    with _LOCK, init_empty_weights(include_buffers=False):
        yield
