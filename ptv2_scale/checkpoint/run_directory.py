"""Whose a directory is: a run's own, or one with somebody's files, which no run touches.

A run's `recipe.yaml` begins with `MARK`. Runs of 0.1.0 have none: their recipe is known by being,
to the letter, what a program writes, beside a folder of checkpoints.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ptv2_scale.config import RunConfig, dump_recipe, yaml_text
from ptv2_scale.runtime.atomic import write_atomically
from ptv2_scale.runtime.errors import UserError

MARK = (
    "# A run of ptv2_scale: its recipe, every default written out. The directory is known by it.\n"
)

LOCK = ".lock"
IN_USE = "another process is running here"  # says an error where that is so
_RECIPE = "recipe.yaml"
CHECKPOINTS = "checkpoints"
_LOGS = "logs"
# What a run has written before its first step.
_FIRST_FILES = (_RECIPE, "status.json", "metrics.jsonl", f"{_LOGS}/rank-*.log", LOCK)


def check_directory(path: Path, resume: str) -> None:
    """Refuse a run directory in which no run may begin.

    Args:
        path: the run directory.
        resume: "never" wants one that is new or empty; "auto" wants that or a run's; the path of a
            checkpoint wants a new one, or the run's that the checkpoint is of.

    Raises:
        UserError: it may not; says how to go on.
    """
    there = next(one for one in path.absolute().parents if os.path.lexists(one))
    if not there.is_dir():
        raise UserError(f"{path}: {there} is not a directory. Choose another one with run=PATH.")
    if resume == "never":
        _check_new(path, "--resume auto")
        return
    check_own_or_new(path)
    if resume != "auto" and Path(resume).resolve().parent != (path / CHECKPOINTS).resolve():
        _check_new(path, "--resume with the path of one of its own checkpoints")


def _check_new(path: Path, way_on: str) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(
            f"{path}: exists already, and nothing is overwritten. Continue it with {way_on}, or"
            " choose another directory with run=PATH."
        )


def is_in_use(path: Path) -> bool:
    """Whether the ranks of some process hold a run directory by its lock."""
    with hold(path) as held:
        return not held


@contextmanager
def hold(path: Path) -> Iterator[bool]:
    """Keep other processes from running in a run directory meanwhile; False: one runs there."""
    try:
        handle = os.open(path / LOCK, os.O_RDWR)
    except OSError:
        yield True
        return
    try:
        yield _take(handle)
    finally:
        os.close(handle)


def _take(lock: int) -> bool:
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


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
    if not _begun(path, found) and not is_run(path):
        shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise UserError(
            f"{path}: is not the directory of a run, and has files: {shown}. Nothing is written"
            " there. Choose another directory with run=PATH, or move them away."
        )


def _begun(path: Path, found: list[str]) -> bool:
    """Whether nothing is there but what a run has before its mark, or checkpoints alone."""
    own = all(one.name.lstrip(".").startswith("step-") for one in (path / CHECKPOINTS).glob("*"))
    return set(found) <= {LOCK, CHECKPOINTS} and own


def is_run(path: Path) -> bool:
    """Whether a directory is a run's own."""
    text = _recipe_text(path)
    if text is None:
        return (path / LOCK).is_file() and (path / CHECKPOINTS).is_dir()
    return text.startswith(MARK) or (_as_written(text) and (path / CHECKPOINTS).is_dir())


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


class NewDirectory:
    """A run directory that a start makes, and removes again if the run is refused untrained.

    Only what a run writes before its first step is removed, and only where nothing was before.

    Args:
        path: the run directory.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._own = path, False
        self._folders: list[Path] = []

    def make(self) -> None:
        """Make the folder, with those that it is to be in.

        Raises:
            OSError: it cannot be made.
        """
        self._folders = [one for one in (self._path, *self._path.parents) if not one.exists()]
        self._path.mkdir(parents=True, exist_ok=True)

    def take(self) -> None:
        """Own the folder from now on, which this process has locked, if nothing else is in it."""
        self._own = all(entry.name == LOCK for entry in self._path.iterdir())

    def keep(self) -> None:
        """Let it stay, whatever happens from now on."""
        self._own = False

    def remove(self) -> None:
        """Remove what this start has made, unless it is to stay."""
        if not self._own:
            return
        self._own = False
        with suppress(OSError):
            for file in [one for name in _FIRST_FILES for one in self._path.glob(name)]:
                file.unlink()
        for folder in (self._path / _LOGS, self._path / CHECKPOINTS, *self._folders):
            with suppress(OSError):  # it holds somebody else's files
                folder.rmdir()
