"""A .safetensors file whose bytes go from the file straight to where they are wanted.

It is not mapped into memory: pages of a mapped file stay in the process that has read them, and
each costs a page fault. The library checks the header; the places of tensors are read from it here.
"""

from __future__ import annotations

import json
import math
import os
import struct
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ptv2_scale.backbones.safetensors_writer import DTYPE_NAMES
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import refuse_unreadable

_DTYPES = {
    **{name: dtype for dtype, name in DTYPE_NAMES.items()},
    "F64": torch.float64,
    "F16": torch.float16,
    "C64": torch.complex64,
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E8M0": torch.float8_e8m0fnu,
}


@dataclass(frozen=True)
class _Stored:
    """A tensor in the file: the format's name of its dtype, its shape, its first byte."""

    dtype: str
    shape: tuple[int, ...]
    first: int


class SafetensorsFile:
    """A .safetensors file; nothing but the ranges asked for is read. Threads may share it.

    Raises:
        UserError: it is damaged, or none at all.
    """

    def __init__(self, path: Path) -> None:
        refuse_unreadable(path)
        self._path = path
        try:
            with safe_open(path, framework="pt"):
                pass  # refuses tensors that overlap, leave holes or reach beyond the file
            self._handle = os.open(path, os.O_RDONLY)
        except (SafetensorError, OSError) as error:
            raise _unreadable(path, error) from None
        weakref.finalize(self, os.close, self._handle)
        self._tensors = _tensors(self._handle)

    def names(self) -> list[str]:
        """Names of its tensors."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        return self._tensors[name].shape

    def dtype(self, name: str) -> torch.dtype:
        """Dtype of one tensor.

        Raises:
            UserError: PyTorch has none whose elements could be read one by one, as for fp4.
        """
        stored = self._tensors[name].dtype
        if stored not in _DTYPES:
            raise UserError(f"{self._path}: {name} is of {stored}, which cannot be read here.")
        return _DTYPES[stored]

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements start..stop (flat) of one tensor."""
        stop = min(stop, math.prod(self.shape(name)))
        values = torch.empty(max(0, stop - start), dtype=self.dtype(name))
        self.read_into(name, start, values)
        return values

    def read_into(self, name: str, start: int, target: Tensor) -> None:
        """Read elements from `start` on into `target` [n], on the CPU and of the tensor's dtype.

        Raises:
            UserError: the file has become shorter since it was opened.
        """
        content = target.view(torch.uint8).numpy().data
        at = self._tensors[name].first + start * target.itemsize
        while content:
            read = os.preadv(self._handle, [content], at)
            if not read:
                raise _unreadable(self._path, "it has become shorter since it was opened")
            content, at = content[read:], at + read


def _tensors(handle: int) -> Mapping[str, _Stored]:
    (length,) = struct.unpack("<Q", os.pread(handle, 8, 0))
    header: dict[str, Any] = json.loads(os.pread(handle, length, 8))
    header.pop("__metadata__", None)
    return {
        name: _Stored(entry["dtype"], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
        for name, entry in header.items()
    }


def _unreadable(path: Path, reason: object) -> UserError:
    return UserError(f"{path}: not a readable safetensors file ({reason}). Download it again.")
