"""A backbone's fingerprint: the same weights give the same one, whatever the folder is called."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from ptv2_scale.backbones.load import BackboneFiles
from ptv2_scale.runtime.atomic import write_atomically
from ptv2_scale.runtime.digest import appearance, sha256_of


def fingerprint(files: BackboneFiles) -> str:
    """sha256 over the names and shapes of a backbone's tensors and the bytes of its weight files.

    Hashing 20 GB takes about a minute, so each file's hash is kept in the user's cache folder
    ($XDG_CACHE_HOME/ptv2_scale) under all that shows without reading it whole; see `_identity`.
    """
    digest = hashlib.sha256()
    for name in sorted(files.weights.names()):
        digest.update(f"{name} {list(files.weights.shape(name))}\n".encode())
    for sha256 in weight_digests(files).values():
        digest.update(f"{sha256}\n".encode())
    return digest.hexdigest()


def weight_digests(files: BackboneFiles) -> dict[Path, str]:
    """The sha256 of each of a backbone's weight files; see `fingerprint`."""
    return {path: _cached_sha256(path) for path in files.weights.paths}


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ptv2_scale"


def _identity(path: Path) -> str:
    """A file's path, number, time of change of its entry, and how it appears."""
    real = path.resolve()
    stat = real.stat()
    return f"{real} {stat.st_ino} {stat.st_ctime_ns} {appearance(real)}"


def _cached_sha256(path: Path) -> str:
    identity = _identity(path)
    entry = _cache_folder() / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.json"
    try:
        kept = json.loads(entry.read_text())
        if kept["file"] == identity:
            return str(kept["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        # No entry, or one that a full disk cut short: hash the file again.
        pass
    digest = sha256_of(path)
    _keep(entry, {"file": identity, "sha256": digest})
    return digest


def _keep(entry: Path, content: dict[str, str]) -> None:
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(entry, json.dumps(content))
    except OSError:
        # A home that cannot be written costs time, not correctness.
        return
