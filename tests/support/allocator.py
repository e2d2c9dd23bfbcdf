"""The most memory of the CPU's allocator, from a profile."""

from __future__ import annotations

from typing import Any

import torch

# gloo copies what it sends in threads of its own, for a moment that depends on the load.
COLLECTIVES = ("c10d::", "gloo:")


def peak(profiler: Any) -> int:
    """Bytes that were allocated at once, beyond what there was before the profile began.

    What a collective takes and gives back for itself is left out.
    """
    events = profiler.profiler.kineto_results.events()
    memory = sorted((e for e in events if e.name() == "[memory]"), key=lambda one: one.start_ns())
    collectives = [
        (e.start_thread_id(), e.start_ns(), e.start_ns() + e.duration_ns())
        for e in events
        if e.name().startswith(COLLECTIVES)
    ]

    def of_a_collective(event: Any) -> bool:
        thread, at = event.start_thread_id(), event.start_ns()
        return any(owner == thread and start <= at <= end for owner, start, end in collectives)

    own = [event.nbytes() for event in memory if not of_a_collective(event)]
    return int(torch.tensor(own).cumsum(0).max())
