"""Writing safetensors shards piece by piece; the library's own writer wants whole shards in memory.

The format: the header's length in 8 bytes, a JSON header with every tensor's dtype, shape and
place, then the tensors' bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ptv2_scale.runtime.atomic import atomic_file

DTYPE_NAMES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
}
_PIECE = 1 << 24  # elements: 64 MiB of fp32


@dataclass(frozen=True)
class Entry:
    """A tensor to be written: its name, its dtype in the new file, its shape."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in the new file."""
        return self.numel * self.dtype.itemsize


@dataclass(frozen=True)
class Shard:
    """One file to be written, with its tensors in the order of their bytes."""

    file: str
    entries: tuple[Entry, ...]

    @property
    def nbytes(self) -> int:
        """Size of the whole file."""
        return len(_header(self.entries)) + sum(entry.nbytes for entry in self.entries)


def shards_of(entries: Iterable[Entry], limit: int) -> list[Shard]:
    """Deal tensors in their order to files of at most `limit` bytes; a larger one is alone.

    The files are called as transformers calls them: model.safetensors, or numbered.
    """
    groups: list[list[Entry]] = [[]]
    for entry in entries:
        held = sum(one.nbytes for one in groups[-1])
        if groups[-1] and held + entry.nbytes > limit:
            groups.append([])
        groups[-1].append(entry)
    if len(groups) == 1:
        return [Shard("model.safetensors", _aligned(groups[0]))]
    names = (f"model-{at:05d}-of-{len(groups):05d}.safetensors" for at in range(1, len(groups) + 1))
    return [Shard(name, _aligned(group)) for name, group in zip(names, groups, strict=True)]


def _aligned(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Wide dtypes first, so that every tensor starts at a multiple of its element's size."""
    return tuple(sorted(entries, key=lambda entry: -entry.dtype.itemsize))


def _header(entries: Sequence[Entry]) -> bytes:
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for entry in entries:
        table[entry.name] = {
            "dtype": DTYPE_NAMES[entry.dtype],
            "shape": entry.shape,
            "data_offsets": [at, at + entry.nbytes],
        }
        at += entry.nbytes
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write_shard(
    folder: Path, shard: Shard, read: Callable[[str, int, int], Tensor]
) -> Iterator[int]:
    """Write a shard under a temporary name, sync it, and give it its own; a generator.

    Args:
        folder: where to.
        shard: what to write.
        read: (name, start, stop) -> those elements, flat, in any dtype.

    Yields:
        Bytes written with each piece.
    """
    with atomic_file(folder / shard.file, durable=True) as file:
        yield file.write(_header(shard.entries))
        for entry in shard.entries:
            for start in range(0, entry.numel, _PIECE):
                piece = read(entry.name, start, min(start + _PIECE, entry.numel))
                content = piece.to(entry.dtype).contiguous().view(torch.uint8)
                yield file.write(content.numpy().data)
