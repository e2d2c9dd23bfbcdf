"""A backbone folder as safetensors shards, made in bounded memory, resumable, published at once.

The new folder is built shard by shard; a shard that has its final name is complete, and the same
call after an interruption keeps it. A plan beside the shards says what they were made from. Names
that share a tensor (tied weights) are written out each, so that every loader finds them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ptv2_scale.backbones.dtypes import DTYPES
from ptv2_scale.backbones.safetensors_writer import (
    DTYPE_NAMES,
    Entry,
    Shard,
    shards_of,
    write_shard,
)
from ptv2_scale.backbones.weights import WeightFolder
from ptv2_scale.runtime.atomic import (
    TEMPORARY,
    atomic_dir,
    check_space,
    sync,
    write_atomically,
)
from ptv2_scale.runtime.digest import appearance
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import read_json

SHARD_BYTES = 1 << 30
# Mapped pages count as this process's memory until the file is opened anew.
_REOPEN_BYTES = 1 << 28
_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_PLAN = "conversion.json"
# Configuration, tokenizer, the folder's own code, licence.
_COPIED = ("*.json", "*.model", "*.txt", "*.py", "*.md", "LICENSE*")

# (bytes done, bytes in all)
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Conversion:
    """What is to be made, and of what.

    Attributes:
        folder: the backbone as published.
        dtype: "bf16" or "fp32", of floating-point tensors in the new files; others keep theirs.
        shard_bytes: largest size of a new file, as long as one tensor fits.
    """

    folder: Path
    dtype: Literal["bf16", "fp32"] = "bf16"
    shard_bytes: int = SHARD_BYTES

    def plan(self) -> dict[str, Any]:
        """The options, and what shows that a source file is the one that it was."""
        sources = {
            path.name: appearance(path)
            for path in (*WeightFolder(self.folder).paths, *self.beside())
        }
        return {"dtype": self.dtype, "shard_bytes": self.shard_bytes, "sources": sources}

    def beside(self) -> list[Path]:
        """The files that are copied; the old shards' index is not."""
        found = {path for pattern in _COPIED for path in self.folder.glob(pattern)}
        return sorted(p for p in found if p.is_file() and not p.name.endswith(".index.json"))


def convert(
    conversion: Conversion, out: Path, on_progress: OnProgress = lambda done, total: None
) -> None:
    """Write a backbone folder's weights as safetensors, and copy what lies beside them.

    Args:
        conversion: of which folder (pytorch_model*.bin, zipped or old, or safetensors), and how.
        out: the folder to be made.
        on_progress: called as bytes are written.

    Raises:
        UserError: the folder cannot be read or was changed, `out` exists, or the disk is too small.
    """
    config = _config(conversion.folder)
    shards = shards_of(
        _entries(WeightFolder(conversion.folder), DTYPES[conversion.dtype]), conversion.shard_bytes
    )
    plan = conversion.plan()
    with atomic_dir(out) as building:
        _start_or_go_on(building, plan)
        _write_shards(building, shards, conversion, on_progress)
        _write_beside(building, shards, conversion, config)
        _check_same(building, plan, conversion.plan())
        (building / _PLAN).unlink()


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder}: no config.json, so this is not a backbone's folder.")
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: cannot be understood: found no JSON object.")
    return content


def _entries(weights: WeightFolder, dtype: torch.dtype) -> list[Entry]:
    found = []
    for name in weights.names():
        own = weights.dtype(name)
        new = dtype if own in _FLOATS else own
        if new not in DTYPE_NAMES:
            known = ", ".join(map(str, dict.fromkeys((*_FLOATS, *DTYPE_NAMES))))
            raise UserError(
                f"{weights.folder}: {name} is {own}, which cannot be converted; known are {known}."
            )
        found.append(Entry(name, new, weights.shape(name)))
    if not found:
        raise UserError(f"{weights.paths[0]}: holds no named tensors.")
    return found


def _start_or_go_on(building: Path, plan: dict[str, Any]) -> None:
    path = building / _PLAN
    begun = path.is_file()
    if begun:
        _check_same(building, json.loads(path.read_text()), plan)
    # Without a plan nobody knows what the files in it were made from.
    for left in building.glob(f"*{TEMPORARY}" if begun else "*"):
        left.unlink()
    write_atomically(path, json.dumps(plan, indent=1), durable=True)


def _check_same(building: Path, begun: dict[str, Any], now: dict[str, Any]) -> None:
    """A conversion goes on only from the files, and with the options, that it began with."""
    options = ("dtype", "shard_bytes")
    changed = [
        f"{key} was {begun[key]} and is {now[key]}" for key in options if begun[key] != now[key]
    ]
    old, new = begun["sources"], now["sources"]
    changed += [
        f"{name} has changed" for name in sorted({*old, *new}) if old.get(name) != new.get(name)
    ]
    if changed:
        raise UserError(
            f"{building}: this conversion began with something else: {'; '.join(changed)}. Delete"
            " that folder to begin anew."
        )


def _write_shards(
    building: Path, shards: Sequence[Shard], conversion: Conversion, on_progress: OnProgress
) -> None:
    missing = [shard for shard in shards if not _complete(building, shard)]
    total, left = (sum(shard.nbytes for shard in some) for some in (shards, missing))
    check_space(building, left + sum(path.stat().st_size for path in conversion.beside()))
    source, done = _Source(conversion.folder), total - left
    on_progress(done, total)
    for shard in missing:
        for written in write_shard(building, shard, source.read):
            done += written
            on_progress(done, total)


def _complete(building: Path, shard: Shard) -> bool:
    path = building / shard.file
    return path.is_file() and path.stat().st_size == shard.nbytes


class _Source:
    """The weights, opened anew now and then so that what was read leaves this process's memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._weights = WeightFolder(folder)
        self._read = 0

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """See `TensorFile`."""
        if self._read >= _REOPEN_BYTES:
            self._weights, self._read = WeightFolder(self._folder), 0
        found = self._weights.read(name, start, stop)
        self._read += found.nbytes
        return found


def _write_beside(
    building: Path, shards: Sequence[Shard], conversion: Conversion, config: dict[str, Any]
) -> None:
    for path in conversion.beside():
        shutil.copyfile(path, building / path.name)
        sync(building / path.name)
    # Loaders that take the dtype from the configuration would widen the weights again.
    written = str(DTYPES[conversion.dtype]).removeprefix("torch.")
    named: dict[str, str] = {key: written for key in ("dtype", "torch_dtype") if key in config}
    _write_json(building / "config.json", {**config, **named})
    if len(shards) > 1:
        table = {entry.name: shard.file for shard in shards for entry in shard.entries}
        size = sum(entry.nbytes for shard in shards for entry in shard.entries)
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(table.items()))}
        _write_json(building / "model.safetensors.index.json", index)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=2) + "\n", durable=True)
