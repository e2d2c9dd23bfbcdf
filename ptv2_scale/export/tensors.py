"""The tensors of an export, from trained ones of any size: folded, renamed, written in pieces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ptv2_scale.backbones.weights import TensorFile
from ptv2_scale.methods.prefix.files import flat_prefix
from ptv2_scale.runtime.pieces import ranges
from ptv2_scale.runtime.safetensors_writer import SafetensorsLayout, TensorEntry

PREFIX = "prefix"
TABLE = "prefix_encoder.embedding.weight"
_ENCODER, _MLP, _HEAD = "prefix_encoder.", "prefix_encoder.trans.", "head."


class NamedTensors:
    """Whole tensors by name, as a `TensorFile`.

    Args:
        tensors: the tensors.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    def names(self) -> list[str]:
        """See `TensorFile`."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """See `TensorFile`."""
        return tuple(self._tensors[name].shape)

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """See `TensorFile`."""
        return self._tensors[name].detach().reshape(-1)[start:stop]


class _Renamed:
    """Some tensors of others, under new names, as a `TensorFile`.

    Args:
        origins: new name -> where the tensor comes from, and its name there.
    """

    def __init__(self, origins: Mapping[str, tuple[TensorFile, str]]) -> None:
        self._origins = origins

    def names(self) -> list[str]:
        """See `TensorFile`."""
        return list(self._origins)

    def shape(self, name: str) -> tuple[int, ...]:
        """See `TensorFile`."""
        source, own = self._origins[name]
        return source.shape(own)

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """See `TensorFile`."""
        source, own = self._origins[name]
        return source.read(own, start, stop)


def exported(trained: TensorFile) -> TensorFile:
    """What an export keeps of trained tensors: the head as it is, the prefix as one table.

    Args:
        trained: trained tensors by their name in `PromptedModel`. Only those of an MLP are read
            whole, and here already; its table is in memory, too.
    """
    names = trained.names()
    origins = {name: (trained, name) for name in names if name.startswith(_HEAD)}
    if any(name.startswith(_MLP) for name in names):
        encoder = {n: read_whole(trained, n) for n in names if n.startswith(_ENCODER)}
        flat = flat_prefix(encoder)
        assert flat is not None
        origins[PREFIX] = (NamedTensors({PREFIX: flat}), PREFIX)
    elif TABLE in names:
        origins[PREFIX] = (trained, TABLE)
    return _Renamed(origins)


def read_whole(source: TensorFile, name: str) -> Tensor:
    """One tensor in its shape, fp32."""
    shape = source.shape(name)
    values = torch.empty(math.prod(shape))
    for start, stop in ranges(0, values.numel()):
        values[start:stop] = source.read(name, start, stop)
    return values.view(shape)


def write_tensors(path: Path, tensors: TensorFile) -> None:
    """Write a safetensors file of fp32 values, as safetensors' own writer would.

    Args:
        path: the file, which must not exist.
        tensors: what is to be in it, of any size.

    Raises:
        OSError: it cannot be written.
    """

    def read(name: str, start: int, stop: int) -> memoryview:
        piece = tensors.read(name, start, stop).float().contiguous()
        return piece.view(torch.uint8).numpy().data

    entries = (TensorEntry(name, "F32", tensors.shape(name)) for name in sorted(tensors.names()))
    with path.open("xb") as file:
        for piece in SafetensorsLayout(tuple(entries)).pieces(read):
            file.write(piece)
