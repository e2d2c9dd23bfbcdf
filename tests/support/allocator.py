"""The most memory of the CPU's allocator, from a profile."""

from __future__ import annotations

from typing import Any

import torch


def peak(profiler: Any) -> int:
    """Bytes that were allocated at once, beyond what there was before the profile began."""
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda one: one.start_ns())
    return int(torch.tensor([one.nbytes() for one in events]).cumsum(0).max())
