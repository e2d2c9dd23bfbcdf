"""Weight files of a backbone folder, read slice by slice: safetensors, or .bin without its code.

A rank asks for a flat range of a tensor and only that range is read, so that loading a sharded
backbone moves each rank's own bytes and little more.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
from collections.abc import Container
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from ptv2_scale.backbones.legacy_bin import LegacyFile, unreadable
from ptv2_scale.backbones.safetensors_file import SafetensorsFile
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import read_json, refuse_unreadable
from ptv2_scale.runtime.pieces import ranges

logger = logging.getLogger(__name__)

# As transformers looks for them: the first one that is there is read.
_SETS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


class TensorFile(Protocol):
    """Named tensors that are read in ranges."""

    def names(self) -> list[str]:
        """Names of its tensors."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor, without reading it."""
        ...

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements start..stop (flat) of one tensor."""
        ...


class WeightFile(TensorFile, Protocol):
    """One opened weight file, which several threads may read."""

    def dtype(self, name: str) -> torch.dtype:
        """Dtype of one tensor, without reading it."""
        ...

    def read_into(self, name: str, start: int, target: Tensor) -> None:
        """Read elements from `start` on into `target` [n], on the CPU and of the tensor's dtype."""
        ...


class PickledFile:
    """A zipped pytorch_model*.bin file, mapped into memory and unpickled with weights_only."""

    def __init__(self, path: Path) -> None:
        self._tensors: dict[str, Tensor] = load_pickled(path)

    def names(self) -> list[str]:
        """See `TensorFile`."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """See `TensorFile`."""
        return tuple(self._tensors[name].shape)

    def dtype(self, name: str) -> torch.dtype:
        """See `WeightFile`."""
        return self._tensors[name].dtype

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """See `TensorFile`."""
        return self._tensors[name].reshape(-1)[start:stop]

    def read_into(self, name: str, start: int, target: Tensor) -> None:
        """See `WeightFile`."""
        target.copy_(self.read(name, start, start + target.numel()))


def load_pickled(path: Path) -> dict[str, Tensor]:
    """All tensors of a pickled file by name; no code of it is run, and a zipped one is mapped.

    Raises:
        UserError: it is damaged, or would run code.
    """
    refuse_unreadable(path)
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
        found = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
        _refuse_odd(found, path.stat().st_size)
        return found
    except pickle.UnpicklingError:
        # torch's own words recommend to read it with code and all.
        reason = "it is damaged, or reading it would run code from it, which is refused"
    except Exception as error:
        # What a damaged file leads to has no common class.
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
    raise unreadable(path, reason)


def _opened(path: Path) -> WeightFile:
    if path.suffix == ".safetensors":
        return SafetensorsFile(path)
    refuse_unreadable(path)
    return PickledFile(path) if _is_zip(path) else LegacyFile(path)


def _refuse_odd(tensors: dict[str, Tensor], file_bytes: int) -> None:
    for name, value in tensors.items():
        # A pickle can repeat one number without end (a stride of 0); copying it takes all memory.
        if value.layout != torch.strided or value.is_meta or value.nbytes > file_bytes:
            raise ValueError(f"'{name}' is sparse, has no values, or is larger than the file")


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _legacy(name: str) -> str:
    """TensorFlow-era names that old BERT files still have."""
    return re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name).replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )


class WeightFolder:
    """All weight files of a folder as one table of tensors.

    Args:
        folder: a backbone as published.
        allowed: "safetensors" refuses pickled files; "any" takes them where nothing else is there.

    Raises:
        UserError: no weight file, or a broken one; names the file.
    """

    def __init__(self, folder: Path, allowed: Literal["any", "safetensors"] = "any") -> None:
        self.folder = folder
        self.paths = _weight_paths(folder, allowed)

    @cached_property
    def _files(self) -> dict[str, tuple[WeightFile, str]]:
        table: dict[str, tuple[WeightFile, str]] = {}
        for path in self.paths:
            file = _opened(path)
            for name in file.names():
                self._refuse_twice(_legacy(name), path, table)
                table[_legacy(name)] = (file, name)
        return table

    def _refuse_twice(self, name: str, path: Path, known: Container[str]) -> None:
        if name in known:
            raise UserError(
                f"{path}: holds {name}, which stands in these files a second time, so that nobody"
                " can say which of the two is meant. Download the weights again, into an empty"
                " folder."
            )

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        file, own_name = self._files[name]
        return file.shape(own_name)

    def dtype(self, name: str) -> torch.dtype:
        """Dtype of one tensor in its file."""
        file, own_name = self._files[name]
        return file.dtype(own_name)

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements start..stop (flat) of one tensor, in the file's dtype."""
        file, own_name = self._files[name]
        return file.read(own_name, start, stop)

    def read_into(self, name: str, start: int, target: Tensor) -> None:
        """Read elements from `start` on into `target` [n], of any dtype and on any device.

        Straight from the file where dtype and device allow it, else in pieces of bounded size.
        """
        file, own_name = self._files[name]
        if target.device.type == "cpu" and target.dtype == file.dtype(own_name):
            file.read_into(own_name, start, target)
            return
        for low, high in ranges(0, target.numel()):
            target[low:high].copy_(file.read(own_name, start + low, start + high))


def _weight_paths(folder: Path, allowed: str) -> list[Path]:
    there = [folder / name for name in _SETS if (folder / name).is_file()]
    readable = [path for path in there if allowed == "any" or "safetensors" in path.name]
    if not readable:
        raise UserError(_none_found(folder, allowed))
    first, *others = readable
    if others and not _is_index_of(others[0], first):
        names = ", ".join(path.name for path in others)
        logger.warning(
            f"{folder}: holds several sets of weights; {first.name} is read, as transformers does,"
            f" and not {names}"
        )
    return _indexed(first) if first.suffix == ".json" else [first]


def _is_index_of(index: Path, whole: Path) -> bool:
    """Whether an index names but this one file."""
    try:
        return index.suffix == ".json" and _shards(index) == [whole.name]
    except UserError:
        return False


def _none_found(folder: Path, allowed: str) -> str:
    message = f"{folder}: no weights found: looked for model.safetensors"
    if allowed == "any":
        message += " and pytorch_model.bin"
    message += ", whole or as shards with an .index.json."
    if any(folder.glob("pytorch_model*.bin")):
        message += (
            " pytorch_model*.bin is there, but backbone.weights: safetensors refuses pickled files."
        )
    if any(folder.glob("*.gguf")):
        message += " A .gguf file is there, which is quantised: name the original model's folder."
    return message


def _indexed(index: Path) -> list[Path]:
    paths = [index.parent / name for name in _shards(index)]
    missing = [path.name for path in paths if not os.path.isfile(path)]
    if missing:
        raise UserError(f"{index}: names shards that are not there: {', '.join(missing)}.")
    return paths


def _shards(index: Path) -> list[str]:
    content = read_json(index)
    try:
        names = sorted(set(content["weight_map"].values()))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index}: not an index of weight shards ({error!r}).") from None
    return [Path(str(name)).name for name in names]
