"""Freed memory is used again without the kernel, and given back in the end."""

from __future__ import annotations

import random
import resource
import subprocess
import sys

import psutil
import torch
from torch import Tensor

from ptv2_scale.runtime.heap import freed_memory_kept

MIB = 2**20
# In a process of its own: what other tests have left at the heap's end may have room for a tensor.
PAGE_FAULTS = """
import resource
import torch
from ptv2_scale.runtime.heap import freed_memory_kept

def faults():
    found = []
    for _ in range(30):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.empty(64 * 2**20, dtype=torch.uint8).fill_(1)
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return found

print(*faults())
with freed_memory_kept():
    print(*faults())
"""


def filled(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.uint8).fill_(1)


def test_a_tensor_as_large_as_one_that_was_freed_costs_no_page_faults() -> None:
    pages = 64 * MIB // resource.getpagesize()
    command = [sys.executable, "-c", PAGE_FAULTS]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    plain, kept = ([int(one) for one in line.split()] for line in printed.splitlines())
    assert min(plain) > pages / 2
    # Something small may take the start of the room of the first ones, as it does once in a run.
    assert max(kept[-10:]) < pages / 50


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
