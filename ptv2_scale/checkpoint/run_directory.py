"""Whose a directory is: a run's own, or one with somebody's files, which no run touches.

A run's `recipe.yaml` begins with `MARK`. Runs of 0.1.0 have none: their recipe is known by being,
to the letter, what a program writes, beside a folder of checkpoints.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ptv2_scale.config import RunConfig, dump_recipe, yaml_text
from ptv2_scale.runtime.atomic import write_atomically
from ptv2_scale.runtime.errors import UserError

MARK = (
    "# A run of ptv2_scale: its recipe, every default written out. The directory is known by it.\n"
)

_RECIPE = "recipe.yaml"
_LOCK = ".lock"
_CHECKPOINTS = "checkpoints"


def check_own_or_new(path: Path) -> None:
    """Refuse a directory with files that are not a run's.

    Raises:
        UserError: names some of them.
    """
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise UserError(f"{path}: is not a directory. Choose another one with run=PATH.")
    found = sorted(entry.name for entry in path.iterdir())
    if not _begun(path, found) and not _is_run(path):
        shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise UserError(
            f"{path}: is not the directory of a run, and has files: {shown}. Nothing is written"
            " there. Choose another directory with run=PATH, or move them away."
        )


def _begun(path: Path, found: list[str]) -> bool:
    """Whether nothing is there but what a run has before its mark, or checkpoints alone."""
    own = all(one.name.lstrip(".").startswith("step-") for one in (path / _CHECKPOINTS).glob("*"))
    return set(found) <= {_LOCK, _CHECKPOINTS} and own


def _is_run(path: Path) -> bool:
    text = _recipe_text(path)
    if text is None:
        return (path / _LOCK).is_file() and (path / _CHECKPOINTS).is_dir()
    return text.startswith(MARK) or (_as_written(text) and (path / _CHECKPOINTS).is_dir())


def _recipe_text(path: Path) -> str | None:
    try:
        return (path / _RECIPE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        return ""


def _as_written(text: str) -> bool:
    value = _value(text)
    return value is not None and yaml_text.write(value) == text


def _value(text: str) -> dict[str, Any] | None:
    try:
        value = yaml_text.parse(text).value
    except yaml_text.UnreadableError:
        return None
    return value if isinstance(value, dict) and "backbone" in value and "task" in value else None


def stored_recipe(path: Path) -> dict[str, Any] | None:
    """The recipe of the run that a directory is; None: there is none yet, or it is unreadable."""
    text = _recipe_text(path)
    return None if text is None else _value(text)


def store_recipe(path: Path, config: RunConfig) -> None:
    """Write the recipe of the run that a directory is, and with it the mark.

    Raises:
        OSError: it cannot be written.
    """
    write_atomically(path / _RECIPE, MARK + dump_recipe(config))
