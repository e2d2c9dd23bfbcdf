"""Data sets of the hub as `datasets` keeps them: prepared once, `CACHE/NAME/SUBSET/VERSION/COMMIT`.

Offline, `datasets` knows no revisions: it takes the copy that was changed last, and fails on one
whose preparation did not end.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from ptv2_scale.runtime.errors import UserError

_CARD = "dataset_info.json"


def offline_copy(name: str, subset: str | None) -> Path | None:
    """The copy that `datasets` takes when it is offline; None: there is none that it could read."""
    try:
        found = [path for path in _copies(name, subset) if subset is None or _is_of(path, subset)]
    except (OSError, ValueError, KeyError):  # a copy that was not finished, in the way of others
        return None
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _copies(name: str, subset: str | None) -> list[Path]:
    folder = _cache() / "___".join([*name.split("/")[:-1], _snake_case(name.split("/")[-1])])
    return sorted(path for path in folder.glob(f"{subset or '*'}/*/*") if path.is_dir())


def _is_of(copy: Path, subset: str) -> bool:
    return bool(json.loads((copy / _CARD).read_text())["config_name"] == subset)


def _snake_case(name: str) -> str:
    """As `datasets.naming` does it, which takes seconds to import."""
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z\d])([A-Z])", r"\1_\2", name).lower()


def _cache() -> Path:
    from huggingface_hub import constants

    given = os.environ.get("HF_DATASETS_CACHE")
    return Path(given or Path(constants.HF_HOME) / "datasets").expanduser()


def prepare(name: str, subset: str | None, commit: str) -> Path:
    """Download a data set at a commit and prepare it, unless that was done before."""
    known = [path for path in _copies(name, subset) if path.name == commit and _finished(path)]
    if known:
        return known[0]
    builder: Any = _builder(name, subset, commit)
    builder.download_and_prepare()
    return Path(builder.cache_dir)


def _finished(copy: Path) -> bool:
    return (copy / _CARD).is_file()


def _builder(name: str, subset: str | None, commit: str) -> Any:
    from datasets import load_dataset_builder

    return load_dataset_builder(name, subset, revision=commit)


def make_newest(name: str, subset: str | None, copy: Path) -> None:
    """Make a copy the one that is taken offline.

    Raises:
        UserError: something is in the way.
    """
    if offline_copy(name, subset) != copy:
        os.utime(copy)
    if offline_copy(name, subset) != copy:
        raise UserError(
            f"{copy.parents[1]}: holds a copy that was not finished, or one of a later date, which"
            f" `datasets` would take instead of {copy}. Remove it."
        )
