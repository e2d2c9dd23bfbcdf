"""Memory of tensors on a CPU, kept by the process for the next ones.

glibc's malloc maps every large block anew and unmaps it when it is freed, so that a tensor costs a
page fault for each 4 KiB, every time. A training step makes and frees the same tensors again and
again: activations, and under ZeRO-3 every gathered weight. PyTorch caches memory on GPUs only.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# malloc.h; mallopt(3) says what they mean.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER = -1
_KEEPING = {_MMAP_MAX: 0, _TRIM_THRESHOLD: _NEVER, _TOP_PAD: 64 * 2**20}
_DEFAULTS = {_MMAP_MAX: 65536, _TRIM_THRESHOLD: 128 * 2**10, _TOP_PAD: 128 * 2**10}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let this process keep what is freed inside, and give it back afterwards.

    What is kept is at most what was in use at once, and what lies between blocks in use. Where the
    C library is not glibc, nothing changes.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        yield
        return
    _set(library, _KEEPING)
    try:
        yield
    finally:
        _set(library, _DEFAULTS)
        library.malloc_trim(0)


def _set(library: ctypes.CDLL, options: dict[int, int]) -> None:
    for option, value in options.items():
        library.mallopt(option, value)
