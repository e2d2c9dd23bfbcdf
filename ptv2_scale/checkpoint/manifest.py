"""`manifest.json`: what makes a directory a checkpoint. It shows damage; it is no signature."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ptv2_scale.runtime.digest import sha256_of

MANIFEST = "manifest.json"
TRAINER = "trainer.json"
FORMAT = 1
MISSING = "is missing"

_LARGEST = 16 << 20  # bytes; ten thousand shards need two million
_STRICT = ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True)
class Stamp:
    """Size and hash of a file."""

    __pydantic_config__ = _STRICT

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Manifest:
    """All files of a checkpoint but this one."""

    __pydantic_config__ = _STRICT

    format: int
    files: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=100)], Stamp]


_MANIFEST: TypeAdapter[Manifest] = TypeAdapter(Manifest)


def shard_name(rank: int, world: int) -> str:
    """File of one rank's shard."""
    return f"part-{rank:05d}-of-{world:05d}.safetensors"


def write_synced(path: Path, pieces: Iterable[bytes | memoryview]) -> Stamp:
    """Write a new file and wait until it is on the disk.

    Args:
        path: the file.
        pieces: its content, in the order of its bytes.

    Returns:
        Its stamp, made of what was to be written: what the disk makes of it shows later.

    Raises:
        OSError: it could not be written.
    """
    size, digest = 0, hashlib.sha256()
    with path.open("xb") as file:
        for piece in pieces:
            size += file.write(piece)
            digest.update(piece)
        file.flush()
        os.fsync(file.fileno())
    return Stamp(size, digest.hexdigest())


def write_manifest(folder: Path, files: dict[str, Stamp]) -> None:
    """Write what makes `folder` a checkpoint, once all its files are there."""
    manifest = Manifest(FORMAT, files)
    write_synced(folder / MANIFEST, [json.dumps(asdict(manifest), indent=1).encode()])


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None: every file is there, of its size and hash."""
    manifest = usable_manifest(folder)
    if isinstance(manifest, str):
        return manifest
    return next((f"{name} {wrong}" for name, wrong in differences(folder, manifest)), None)


def usable_manifest(folder: Path) -> Manifest | str:
    """The manifest of a folder, or why it cannot be used."""
    try:
        manifest = read_manifest(folder)
    except ValidationError as error:
        return f"{MANIFEST} cannot be read ({error.errors()[0]['msg']})"
    except (OSError, ValueError) as error:
        return f"{MANIFEST} cannot be read ({error})"
    if not _is_complete(set(manifest.files)):
        return f"{MANIFEST} does not name the files of a checkpoint"
    return manifest


def differences(folder: Path, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Each file that is not as the manifest says, with what is wrong with it."""
    for name, stamp in manifest.files.items():
        wrong = _difference(folder / name, stamp)
        if wrong is not None:
            yield name, wrong


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not one, or of another version.
    """
    path = folder / MANIFEST
    if folder.is_symlink() or path.is_symlink():
        raise ValueError("a link stands in its place")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path.stat().st_size} bytes, at most {_LARGEST} are read")
    manifest = _MANIFEST.validate_json(path.read_bytes())
    if manifest.format != FORMAT:
        raise ValueError(f"format {manifest.format}, this version reads {FORMAT}")
    return manifest


def _is_complete(names: set[str]) -> bool:
    world = len(names) - 1
    return names == {TRAINER, *(shard_name(rank, world) for rank in range(world))} and world > 0


def _difference(path: Path, stamp: Stamp) -> str | None:
    try:
        if path.is_symlink() or not path.is_file():
            return MISSING
        size = path.stat().st_size
        if size != stamp.bytes:
            return f"has {size} bytes instead of {stamp.bytes}"
        if sha256_of(path) != stamp.sha256:
            return "has changed since it was written (sha256 differs)"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None
