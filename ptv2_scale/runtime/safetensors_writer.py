"""Safetensors files made piece by piece; the library's own writer wants whole tensors in memory.

The format: the header's length in 8 bytes, a JSON header with every tensor's dtype, shape and
place, then the tensors' bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ptv2_scale.runtime.pieces import ranges

# Bytes of an element of each dtype, by the format's own names.
DTYPE_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "BF16": 2, "I32": 4, "F32": 4, "I64": 8}

# (name of a tensor, first element, one past the last) -> the bytes of these elements in the file
ReadBytes = Callable[[str, int, int], memoryview]


@dataclass(frozen=True)
class TensorEntry:
    """A tensor to be written.

    Attributes:
        name: the tensor's name in the file.
        dtype: the dtype in the file, one of `DTYPE_BYTES`.
        shape: the tensor's shape.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor in the file."""
        return self.numel * DTYPE_BYTES[self.dtype]


@dataclass(frozen=True)
class SafetensorsLayout:
    """A file to be written: which tensors, in the order of their bytes.

    Attributes:
        entries: the tensors; wider dtypes first, so that every tensor is aligned to its elements.
        metadata: texts for whoever reads the file.
    """

    entries: tuple[TensorEntry, ...]
    metadata: Mapping[str, str] = field(default_factory=lambda: {"format": "pt"})

    @property
    def nbytes(self) -> int:
        """Size of the whole file in bytes."""
        return len(self.header()) + sum(entry.nbytes for entry in self.entries)

    def header(self) -> bytes:
        """All that comes before the tensors' bytes."""
        table: dict[str, object] = {"__metadata__": dict(self.metadata)}
        at = 0
        for entry in self.entries:
            table[entry.name] = {
                "dtype": entry.dtype,
                "shape": entry.shape,
                "data_offsets": [at, at + entry.nbytes],
            }
            at += entry.nbytes
        text = json.dumps(table, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text

    def pieces(self, read: ReadBytes) -> Iterator[bytes | memoryview]:
        """The file's content, from its first byte to its last.

        Args:
            read: gives any flat range of any of the tensors.

        Yields:
            The header, then at most `PIECE` elements at once.
        """
        yield self.header()
        for entry in self.entries:
            for start, stop in ranges(0, entry.numel):
                yield read(entry.name, start, stop)
