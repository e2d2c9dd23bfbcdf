"""The parts of a checkpoint: what each rank holds, read as whole tensors by any number of ranks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, empty

from ptv2_scale.checkpoint.manifest import part_name, read_manifest
from ptv2_scale.runtime.errors import UserError

KINDS = ("fp32", "exp_avg", "exp_avg_sq")

# (name of a tensor, kind, first element, one past the last) -> fp32 values [n]
Read = Callable[[str, str, int, int], Tensor]


@dataclass(frozen=True)
class LocalPart:
    """One rank's part of one trained tensor.

    Attributes:
        name: the parameter's name in `PromptedModel`.
        shape: of the whole tensor.
        start: index of the part's first element in the flat tensor.
        values: kind -> fp32 values [n]; views of DeepSpeed's own storage.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    values: dict[str, Tensor]


_Number = Annotated[int, Field(ge=0, lt=1 << 48)]


@dataclass(frozen=True)
class Located:
    """Where a rank's part of a tensor lies in the whole.

    Attributes:
        start: index of its first element in the flat tensor.
        shape: of the whole tensor.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    start: _Number
    shape: tuple[_Number, ...]


_LOCATED: TypeAdapter[dict[str, Located]] = TypeAdapter(dict[str, Located])


def part_bytes(parts: list[LocalPart]) -> bytes:
    """One rank's parts as the content of a safetensors file."""
    tensors = {
        f"{part.name}/{kind}": values.detach().cpu().clone()
        for part in parts
        for kind, values in part.values.items()
    }
    located = {part.name: {"start": part.start, "shape": list(part.shape)} for part in parts}
    content: bytes = safetensors.torch.save(tensors, metadata={"parts": json.dumps(located)})
    return content


class Parts:
    """All parts of a checkpoint as whole tensors, whatever number of ranks wrote them.

    Args:
        folder: an undamaged checkpoint.

    Raises:
        UserError: a part is not what its name says.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._pieces: dict[str, list[tuple[int, Any]]] = {}
        # Not what lies in the folder: only what the manifest vouches for.
        world = len(read_manifest(folder).files) - 1
        for rank in range(world):
            self._open(folder / part_name(rank, world))

    def _open(self, path: Path) -> None:
        try:
            file = safe_open(path, framework="pt")
            located = _LOCATED.validate_json((file.metadata() or {})["parts"])
        except (SafetensorError, OSError, KeyError, ValidationError) as error:
            raise UserError(
                f"{path}: not a part of a checkpoint ({type(error).__name__})."
            ) from None
        for name, where in located.items():
            if self._shapes.setdefault(name, where.shape) != where.shape:
                raise UserError(f"{path}: {name} has another shape here than in other parts.")
            self._pieces.setdefault(name, []).append((where.start, file))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Whole shape of every trained tensor."""
        return dict(self._shapes)

    def read(self, name: str, kind: str, start: int, stop: int) -> Tensor:
        """Elements start..stop (flat) of one kind ("fp32", "exp_avg", "exp_avg_sq") of a tensor.

        Raises:
            UserError: no part holds them.
        """
        pieces = [
            (begin, self._slice(file, f"{name}/{kind}"))
            for begin, file in sorted(self._pieces.get(name, []), key=lambda piece: piece[0])
        ]
        # Before memory is taken for what no part holds.
        if stop - start > sum(piece.get_shape()[0] for _, piece in pieces):
            raise UserError(f"{self._folder}: {name} has elements that no part holds.")
        values, covered = empty(stop - start), 0
        for begin, piece in pieces:
            end = begin + int(piece.get_shape()[0])
            low, high = max(start, begin), min(stop, end)
            if low < high:
                values[low - start : high - start] = piece[low - begin : high - begin]
                covered += high - low
        if covered != stop - start:
            raise UserError(f"{self._folder}: {name} has elements that no part holds.")
        return values

    def _slice(self, file: Any, name: str) -> Any:
        try:
            piece = file.get_slice(name)
        except SafetensorError:
            raise UserError(f"{self._folder}: no part holds {name}.") from None
        if len(piece.get_shape()) != 1 or piece.get_dtype() != "F32":
            raise UserError(f"{self._folder}: {name} is not a flat part of fp32 numbers.")
        return piece

    def whole(self, name: str) -> Tensor:
        """The fp32 values of one tensor, in its shape."""
        shape = self._shapes[name]
        # Not Size.numel: it overflows.
        return self.read(name, "fp32", 0, math.prod(shape)).view(shape)
