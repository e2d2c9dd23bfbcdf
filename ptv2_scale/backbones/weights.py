"""Weight files of a backbone folder, read slice by slice: safetensors, or .bin without its code.

A rank asks for a flat range of a tensor and only those rows are read, so that loading a sharded
backbone moves each rank's own bytes and little more.
"""

from __future__ import annotations

import os
import pickle
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ptv2_scale.backbones.legacy_bin import LegacyFile, unreadable
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import read_json


class TensorFile(Protocol):
    """One opened weight file."""

    def names(self) -> list[str]:
        """Names of its tensors."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor, without reading it."""
        ...

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements start..stop (flat) of one tensor."""
        ...


class SafetensorsFile:
    """A .safetensors file, mapped into memory; rows outside a range are never touched."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = safe_open(path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise _unreadable(path, error) from None
        self._path = path

    def names(self) -> list[str]:
        """See `TensorFile`."""
        return list(self._file.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        """See `TensorFile`."""
        return tuple(self._file.get_slice(name).get_shape())

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """See `TensorFile`."""
        try:
            return self._read(name, start, stop)
        except Exception as error:
            # A header may name what PyTorch does not have; that leads to several kinds of errors.
            raise _unreadable(self._path, error) from None

    def _read(self, name: str, start: int, stop: int) -> Tensor:
        shape = self.shape(name)
        if len(shape) < 2:
            whole: Tensor = self._file.get_tensor(name)
            return whole.reshape(-1)[start:stop]
        row = max(1, torch.Size(shape[1:]).numel())
        first = start // row
        rows: Tensor = self._file.get_slice(name)[first : -(-stop // row)]
        return rows.reshape(-1)[start - first * row : stop - first * row]


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: not a readable safetensors file ({error}). Download it again.")


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

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """See `TensorFile`."""
        return self._tensors[name].reshape(-1)[start:stop]


def load_pickled(path: Path) -> dict[str, Tensor]:
    """All tensors of a pickled file by name; no code of it is run, and a zipped one is mapped.

    Raises:
        UserError: it is damaged, or would run code.
    """
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


def _opened(path: Path) -> TensorFile:
    if path.suffix == ".safetensors":
        return SafetensorsFile(path)
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
    def _files(self) -> dict[str, tuple[TensorFile, str]]:
        table: dict[str, tuple[TensorFile, str]] = {}
        for path in self.paths:
            file = _opened(path)
            table.update({_legacy(name): (file, name) for name in file.names()})
        return table

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        file, own_name = self._files[name]
        return file.shape(own_name)

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements start..stop (flat) of one tensor, in the file's dtype."""
        file, own_name = self._files[name]
        values = file.read(own_name, start, stop)
        if values.numel() != stop - start:
            # Several numbers in one element, as in fp4.
            raise UserError(
                f"{self.folder}: {name} is of {values.dtype}, which cannot be read here."
            )
        return values


def _weight_paths(folder: Path, allowed: str) -> list[Path]:
    for stem in ("model.safetensors", "pytorch_model.bin"):
        if allowed == "safetensors" and stem.endswith(".bin"):
            break
        index = folder / f"{stem}.index.json"
        if index.is_file():
            return _indexed(index)
        if (folder / stem).is_file():
            return [folder / stem]
    pickled = any(folder.glob("pytorch_model*.bin"))
    raise UserError(
        f"{folder}: no weights found: looked for model.safetensors"
        + (" and pytorch_model.bin" if allowed == "any" else "")
        + ", whole or as shards with an .index.json."
        + (
            " pytorch_model*.bin is there, but backbone.weights: safetensors refuses pickled files."
            if pickled
            else ""
        )
    )


def _indexed(index: Path) -> list[Path]:
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
    except (UserError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index}: not an index of weight shards ({error!r}).") from None
    paths = [index.parent / Path(str(name)).name for name in names]
    missing = [path.name for path in paths if not os.path.isfile(path)]
    if missing:
        raise UserError(f"{index}: names shards that are not there: {', '.join(missing)}.")
    return paths
