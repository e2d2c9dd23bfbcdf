"""What runs have left that nobody will need: older checkpoints of ended runs, halves of saves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ptv2_scale.checkpoint.run_directory import CHECKPOINTS, hold
from ptv2_scale.history.runs import Run
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import folder_bytes, read_json

Asked = Literal["best", "export"]
ASKED = get_args(Asked)


@dataclass(frozen=True)
class Leftover:
    """A folder that can be removed.

    Attributes:
        run: the directory of the run.
        path: the folder, inside of it.
        reason: why nobody needs it.
        nbytes: bytes of its files.
    """

    run: Path
    path: Path
    reason: str
    nbytes: int

    def to_json(self) -> dict[str, Any]:
        """As programs read it."""
        return {"path": str(self.path), "reason": self.reason, "bytes": self.nbytes}


def leftovers(runs: Sequence[Run], asked: Collection[Asked] = ()) -> list[Leftover]:
    """What can be removed of some runs, none of which need it to go on or to answer.

    Of a run that is running nothing; of any other one what a killed process had begun to write or
    to delete; of an ended one all checkpoints but the best.

    Args:
        runs: as they were found.
        asked: what else is to go of ended runs: the best checkpoint, or the export.

    Raises:
        UserError: a run's result cannot be read.
    """
    return [
        Leftover(run.path, path, reason, folder_bytes(path))
        for run in runs
        if run.state != "running"
        for path, reason in _leftovers(run, asked)
    ]


def _leftovers(run: Run, asked: Collection[Asked]) -> Iterator[tuple[Path, str]]:
    folder = run.path / CHECKPOINTS
    for path in _folders(folder, ".step-*"):
        yield path, "half of a save or of a removal"
    if run.state != "ended" or not (run.path / "result.json").is_file():
        return
    best = _best_step(run.path)
    for path in _folders(folder, "step-*"):
        if path.name == f"step-{best:08d}":
            if "best" in asked:
                yield path, "the best checkpoint, asked for"
        else:
            yield path, "the run has ended, and this is not its best checkpoint"
    if "export" in asked:
        for path in _folders(run.path, "export"):
            yield path, "the export, asked for"


def _folders(folder: Path, pattern: str) -> list[Path]:
    if folder.is_symlink():
        return []
    return [one for one in sorted(folder.glob(pattern)) if one.is_dir() and not one.is_symlink()]


def _best_step(run: Path) -> int:
    path = run / "result.json"
    found = read_json(path)
    step = found.get("best_step") if isinstance(found, dict) else None
    if not isinstance(step, int):
        raise UserError(
            f"{path}: best_step: found {json.dumps(step)}, expected a number of steps, so nothing"
            " is removed."
        )
    return step


def remove(found: Sequence[Leftover]) -> None:
    """Remove folders, each while its run is held by its lock.

    Raises:
        UserError: a run has begun to run meanwhile, or a folder cannot be removed.
    """
    for one in found:
        with hold(one.run) as held:
            if not held:
                raise UserError(f"{one.run}: has begun to run meanwhile; {one.path} is left.")
            _remove(one.path)


def _remove(path: Path) -> None:
    # Renamed first, so that a kill half-way leaves nothing that looks like a checkpoint.
    doomed = path if path.name.startswith(".") else path.with_name(f".{path.name}.deleting")
    try:
        shutil.rmtree(path if path == doomed else path.rename(doomed))
    except OSError as error:
        raise UserError(f"{path}: cannot be removed ({error.strerror}).") from None
