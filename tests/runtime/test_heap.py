"""Freed memory is used again without the kernel, and given back in the end."""

from __future__ import annotations

import random
import resource

import psutil
import torch
from torch import Tensor

from ptv2_scale.runtime.heap import freed_memory_kept

MIB = 2**20
LARGE = 64 * MIB  # above 32 MiB malloc maps a block anew, whatever it has learned
PAGES = LARGE // resource.getpagesize()


def filled(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.uint8).fill_(1)


def page_faults() -> list[int]:
    """Page faults of tensors that are made, filled and freed again, one after the other."""
    found = []
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        filled(LARGE)
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return found


def test_a_tensor_as_large_as_one_that_was_freed_costs_no_page_faults() -> None:
    assert min(page_faults()) > PAGES / 2
    with freed_memory_kept():
        # Something small may have taken the start of the room of the one before.
        assert sorted(page_faults())[2] < PAGES / 50


def test_memory_stays_within_twice_what_is_in_use_and_is_given_back() -> None:
    source, process = random.Random(3), psutil.Process()
    before = process.memory_info().rss
    with freed_memory_kept():
        held: list[Tensor] = []
        for _ in range(400):  # of all sizes, freed in another order than they are made in
            held.append(filled(source.randrange(MIB // 4, 8 * MIB)))
            if len(held) > 12:
                held.pop(source.randrange(len(held)))
        in_use = 12 * 8 * MIB
        assert process.memory_info().rss - before < 2 * in_use
        held.clear()
    assert process.memory_info().rss - before < in_use / 4
