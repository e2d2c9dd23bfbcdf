"""A backbone's weights dealt to safetensors files, each written piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ptv2_scale.runtime.atomic import atomic_file
from ptv2_scale.runtime.safetensors_writer import SafetensorsLayout, TensorEntry

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


@dataclass(frozen=True)
class Entry:
    """A tensor to be written: its name, its dtype in the new file, its shape."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def stored(self) -> TensorEntry:
        """The same by the format's own names."""
        return TensorEntry(self.name, DTYPE_NAMES[self.dtype], self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in the new file."""
        return self.stored.nbytes


@dataclass(frozen=True)
class Shard:
    """One file to be written, with its tensors in the order of their bytes."""

    file: str
    entries: tuple[Entry, ...]

    @property
    def layout(self) -> SafetensorsLayout:
        """What the file is made of."""
        return SafetensorsLayout(tuple(entry.stored for entry in self.entries))

    @property
    def nbytes(self) -> int:
        """Size of the whole file."""
        return self.layout.nbytes


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
    dtypes = {entry.name: entry.dtype for entry in shard.entries}

    def read_bytes(name: str, start: int, stop: int) -> memoryview:
        piece = read(name, start, stop).to(dtypes[name])
        return piece.contiguous().view(torch.uint8).numpy().data

    with atomic_file(folder / shard.file, durable=True) as file:
        for piece in shard.layout.pieces(read_bytes):
            yield file.write(piece)
