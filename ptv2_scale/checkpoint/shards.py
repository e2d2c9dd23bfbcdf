"""The shards of a checkpoint: what each rank holds, read as whole tensors by any number of ranks.

On the disk a shard is `part-00000-of-00002.safetensors`, with the place of every tensor in its
metadata. Shards are of any size: they are written and read piece by piece.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ptv2_scale.checkpoint.manifest import read_manifest, shard_name
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.heartbeat import report_progress
from ptv2_scale.runtime.safetensors_writer import SafetensorsLayout, TensorEntry

KINDS = ("fp32", "exp_avg", "exp_avg_sq")

# (name of a tensor, kind, first element, one past the last) -> fp32 values [n]
Read = Callable[[str, str, int, int], Tensor]


@dataclass(frozen=True)
class LocalShard:
    """One rank's shard of one trained tensor.

    Attributes:
        name: the parameter's name in `PromptedModel`.
        shape: of the whole tensor.
        start: index of the shard's first element in the flat tensor.
        values: kind -> fp32 values [n]; views of DeepSpeed's own storage.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    values: dict[str, Tensor]


_Number = Annotated[int, Field(ge=0, lt=1 << 48)]


@dataclass(frozen=True)
class Located:
    """Where a rank's shard of a tensor lies in the whole.

    Attributes:
        start: index of its first element in the flat tensor.
        shape: of the whole tensor.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    start: _Number
    shape: tuple[_Number, ...]


_LOCATED: TypeAdapter[dict[str, Located]] = TypeAdapter(dict[str, Located])


class ShardFile:
    """One rank's shards as the content of a safetensors file, made piece by piece.

    Args:
        shards: this rank's shard of every trained tensor.
    """

    def __init__(self, shards: Iterable[LocalShard]) -> None:
        located: dict[str, Any] = {}
        self._values: dict[str, Tensor] = {}
        for shard in shards:
            located[shard.name] = {"start": shard.start, "shape": list(shard.shape)}
            for kind, values in shard.values.items():
                self._values[f"{shard.name}/{kind}"] = values.detach()
        entries = (
            TensorEntry(name, "F32", (values.numel(),))
            for name, values in sorted(self._values.items())
        )
        self._layout = SafetensorsLayout(tuple(entries), {"parts": json.dumps(located)})

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes."""
        return self._layout.nbytes

    def pieces(self) -> Iterator[bytes | memoryview]:
        """The file's content, of which no more than a piece is copied at once."""
        return self._layout.pieces(self._read)

    def _read(self, name: str, start: int, stop: int) -> memoryview:
        report_progress("saving a checkpoint")
        piece = self._values[name][start:stop].float().cpu().contiguous()
        return piece.view(torch.uint8).numpy().data


class CheckpointShards:
    """All shards of a checkpoint as whole tensors, whatever number of ranks wrote them.

    Args:
        folder: an undamaged checkpoint.

    Raises:
        UserError: a shard is not what its name says.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._pieces: dict[str, list[tuple[int, Any]]] = {}
        # Not what lies in the folder: only what the manifest vouches for.
        world = len(read_manifest(folder).files) - 1
        for rank in range(world):
            self._open(folder / shard_name(rank, world))

    def _open(self, path: Path) -> None:
        try:
            file = safe_open(path, framework="pt")
            located = _LOCATED.validate_json((file.metadata() or {})["parts"])
        except (SafetensorError, OSError, KeyError, ValidationError) as error:
            raise UserError(
                f"{path}: not a shard of a checkpoint ({type(error).__name__})."
            ) from None
        for name, where in located.items():
            if self._shapes.setdefault(name, where.shape) != where.shape:
                raise UserError(f"{path}: {name} has another shape here than in other shards.")
            self._pieces.setdefault(name, []).append((where.start, file))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Whole shape of every trained tensor."""
        return dict(self._shapes)

    def read(self, name: str, kind: str, start: int, stop: int) -> Tensor:
        """Elements start..stop (flat) of one kind ("fp32", "exp_avg", "exp_avg_sq") of a tensor.

        Raises:
            UserError: no shard holds them.
        """
        pieces = [
            (begin, self._slice(file, f"{name}/{kind}"))
            for begin, file in sorted(self._pieces.get(name, []), key=lambda piece: piece[0])
        ]
        # Before memory is taken for what no shard holds.
        if stop - start > sum(piece.get_shape()[0] for _, piece in pieces):
            raise UserError(f"{self._folder}: {name} has elements that no shard holds.")
        values, covered = torch.empty(stop - start), 0
        for begin, piece in pieces:
            end = begin + int(piece.get_shape()[0])
            low, high = max(start, begin), min(stop, end)
            if low < high:
                values[low - start : high - start] = piece[low - begin : high - begin]
                covered += high - low
        if covered != stop - start:
            raise UserError(f"{self._folder}: {name} has elements that no shard holds.")
        return values

    def _slice(self, file: Any, name: str) -> Any:
        try:
            piece = file.get_slice(name)
        except SafetensorError:
            raise UserError(f"{self._folder}: no shard holds {name}.") from None
        if len(piece.get_shape()) != 1 or piece.get_dtype() != "F32":
            raise UserError(f"{self._folder}: {name} is not a flat shard of fp32 numbers.")
        return piece

    def whole(self, name: str) -> Tensor:
        """The fp32 values of one tensor, in its shape."""
        shape = self._shapes[name]
        # Not Size.numel: it overflows.
        return self.read(name, "fp32", 0, math.prod(shape)).view(shape)


class StoredValues:
    """The fp32 values of a checkpoint's tensors, in ranges: a `backbones.weights.TensorFile`.

    Args:
        shards: of the checkpoint.
    """

    def __init__(self, shards: CheckpointShards) -> None:
        self._shards, self._shapes = shards, shards.shapes()

    def names(self) -> list[str]:
        """Names of the trained tensors."""
        return list(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        return self._shapes[name]

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements start..stop (flat) of one tensor, fp32 [n].

        Raises:
            UserError: no shard holds them.
        """
        return self._shards.read(name, "fp32", start, stop)
