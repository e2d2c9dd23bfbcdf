"""Named tensors of any size, read in ranges; and small files of them, read whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ptv2_scale.backbones.weights import TensorFile, load_pickled
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import refuse_pointer
from ptv2_scale.runtime.pieces import ranges


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


class Tensors:
    """Tensors of others, perhaps under new names, as a `TensorFile`.

    Args:
        origins: name here -> where the tensor comes from, and its name there.
    """

    def __init__(self, origins: Mapping[str, tuple[TensorFile, str]]) -> None:
        self._origins = dict(origins)

    @classmethod
    def of(cls, source: TensorFile, names: Iterable[str]) -> Tensors:
        """Some tensors of another source, under their own names."""
        return cls({name: (source, name) for name in names})

    def renamed(self, new_names: Mapping[str, str]) -> Tensors:
        """The same tensors, some of them under new names."""
        return Tensors(
            {new_names.get(name, name): origin for name, origin in self._origins.items()}
        )

    def beside(self, other: Tensors) -> Tensors:
        """These tensors and others."""
        return Tensors({**self._origins, **other._origins})

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


def read_whole(source: TensorFile, name: str) -> Tensor:
    """One tensor in its shape, fp32."""
    shape = source.shape(name)
    values = torch.empty(math.prod(shape))
    for start, stop in ranges(0, values.numel()):
        values[start:stop] = source.read(name, start, stop)
    return values.view(shape)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a .safetensors file, or of a pickled one read without running its code.

    Raises:
        UserError: it cannot be read.
    """
    if path.suffix != ".safetensors":
        return load_pickled(path)
    try:
        refuse_pointer(path)
        found: dict[str, Tensor] = load_file(path)
        return found
    except UserError:
        raise
    except Exception as error:
        # A header may name what PyTorch does not have; that leads to several kinds of errors.
        raise UserError(f"{path}: not a readable safetensors file ({error}).") from None
