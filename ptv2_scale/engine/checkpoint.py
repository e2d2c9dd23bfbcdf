"""Checkpoints: safetensors and JSON, published whole or not at all, read by any number of ranks.

A checkpoint is `RUN/checkpoints/step-00000500/`: a part per rank with the fp32 master values and
AdamW's moments of what is trained, `trainer.json` with the position of the run, and
`manifest.json` with every file's size and sha256. A directory with a valid manifest is a
checkpoint; anything else is not. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ptv2_scale.backbones.fingerprint import sha256_of
from ptv2_scale.engine.ranks import Ranks, on_first_rank
from ptv2_scale.engine.state import LocalPart
from ptv2_scale.errors import UserError

FORMAT = 1


@dataclass(frozen=True)
class Best:
    """The best evaluation so far."""

    step: int
    value: float


@dataclass
class TrainerState:
    """Where a run stands after a step.

    Attributes:
        step: optimizer steps made; the sample order and the schedule follow from it.
        best: best evaluation so far.
        without_gain: evaluations since then.
        recipe: the resolved recipe.
        fingerprint: of the backbone.
        world: ranks that wrote it.
        parameter_groups: lr, weight_decay, betas and eps of each group.
        versions: of the libraries whose arithmetic the bits depend on.
    """

    step: int = 0
    best: Best | None = None
    without_gain: int = 0
    recipe: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    world: int = 1
    parameter_groups: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)


def checkpoint_path(run: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return run / "checkpoints" / f"step-{step:08d}"


def save(run: Path, state: TrainerState, parts: list[LocalPart], ranks: Ranks) -> Path:
    """Publish a checkpoint; every rank calls it.

    Args:
        run: the run directory, on a file system that all ranks share.
        state: where the run stands.
        parts: this rank's parts of what is trained.
        ranks: where this process stands.

    Raises:
        UserError: on every rank, if one could not write; older checkpoints are untouched.
    """
    final = checkpoint_path(run, state.step)
    building = final.with_name(f".{final.name}.building")
    on_first_rank(ranks, lambda: _writing(building, lambda: _empty(building)))
    problem = _attempt(lambda: _write_part(building, parts, ranks))
    problems: list[str | None] = [None] * ranks.world
    torch.distributed.all_gather_object(problems, problem)
    found = [f"rank {rank}: {text}" for rank, text in enumerate(problems) if text]
    if found:
        raise UserError(f"{building}: the checkpoint could not be written. {found[0]}")
    on_first_rank(ranks, lambda: _writing(building, lambda: _publish(building, final, state)))
    return final


def _attempt(action: Callable[[], None]) -> str | None:
    try:
        action()
    except OSError as error:
        return str(error)
    return None


def _writing(path: Path, action: Callable[[], None]) -> None:
    problem = _attempt(action)
    if problem:
        raise UserError(f"{path}: the checkpoint could not be written. {problem}")


def _empty(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _write_part(folder: Path, parts: list[LocalPart], ranks: Ranks) -> None:
    path = folder / f"part-{ranks.rank:05d}-of-{ranks.world:05d}.safetensors"
    tensors = {
        f"{part.name}/{kind}": values.detach().cpu().clone()
        for part in parts
        for kind, values in part.values.items()
    }
    located = {part.name: {"start": part.start, "shape": list(part.shape)} for part in parts}
    try:
        save_file(tensors, path, metadata={"parts": json.dumps(located)})
    except SafetensorError as error:
        raise OSError(str(error)) from None
    _sync(path)


def _publish(building: Path, final: Path, state: TrainerState) -> None:
    trainer = building / "trainer.json"
    _write_text(trainer, json.dumps(asdict(state), indent=1))
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(building.iterdir())
    }
    _write_text(
        building / "manifest.json", json.dumps({"format": FORMAT, "files": files}, indent=1)
    )
    _sync(building)
    if final.exists():
        # The same step saved again, after a resume that found this one damaged or was told a path.
        final.rename(_free_name(final.with_name(f"{final.name}.replaced")))
    building.rename(final)
    _sync(final.parent)


def _free_name(path: Path) -> Path:
    number = 1
    candidate = path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def _write_text(path: Path, text: str) -> None:
    path.write_text(text)
    _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None: every file is there, of its size and hash."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        files = dict(manifest["files"])
        if manifest["format"] != FORMAT:
            return f"manifest.json: format {manifest['format']}, this version reads {FORMAT}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"manifest.json cannot be read ({error})"
    for name, expected in files.items():
        path = folder / Path(name).name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != expected["bytes"]:
            return f"{name} has {path.stat().st_size} bytes instead of {expected['bytes']}"
        if sha256_of(path) != expected["sha256"]:
            return f"{name} has changed since it was written (sha256 differs)"
    return None


@dataclass(frozen=True)
class Found:
    """A checkpoint to resume from, and what was passed over on the way to it."""

    path: Path | None
    skipped: list[str]


def newest_valid(run: Path) -> Found:
    """The newest undamaged checkpoint of a run."""
    skipped: list[str] = []
    for folder in sorted((run / "checkpoints").glob("step-????????"), reverse=True):
        wrong = damage(folder)
        if wrong is None:
            return Found(folder, skipped)
        skipped.append(f"{folder}: {wrong}")
    return Found(None, skipped)


def read_state(folder: Path) -> TrainerState:
    """The trainer's state of a valid checkpoint."""
    raw = json.loads((folder / "trainer.json").read_text())
    best = raw.pop("best")
    return TrainerState(**raw, best=None if best is None else Best(**best))


def prune(run: Path, keep: int, best: Best | None) -> None:
    """Delete all but the newest `keep` checkpoints and the best; call it after a save."""
    folders = sorted((run / "checkpoints").glob("step-????????"))
    protected = set() if best is None else {checkpoint_path(run, best.step)}
    for folder in folders[:-keep]:
        if folder not in protected:
            # Renamed first, so that a kill half-way leaves nothing that looks like a checkpoint.
            doomed = folder.with_name(f".{folder.name}.deleting")
            folder.rename(doomed)
            shutil.rmtree(doomed)


class Parts:
    """All parts of a checkpoint as whole tensors, whatever number of ranks wrote them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._pieces: dict[str, list[tuple[int, Any]]] = {}
        for path in sorted(folder.glob("part-*.safetensors")):
            file = safe_open(path, framework="pt")
            for name, where in json.loads(file.metadata()["parts"]).items():
                self._shapes[name] = tuple(where["shape"])
                self._pieces.setdefault(name, []).append((int(where["start"]), file))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Whole shape of every trained tensor."""
        return dict(self._shapes)

    def read(self, name: str, kind: str, start: int, stop: int) -> Tensor:
        """Elements start..stop (flat) of one kind ("fp32", "exp_avg", "exp_avg_sq") of a tensor."""
        values = torch.empty(stop - start)
        covered = 0
        for begin, file in sorted(self._pieces[name], key=lambda piece: piece[0]):
            piece = file.get_slice(f"{name}/{kind}")
            end = begin + int(piece.get_shape()[0])
            low, high = max(start, begin), min(stop, end)
            if low < high:
                values[low - start : high - start] = piece[low - begin : high - begin]
                covered += high - low
        if covered != stop - start:
            raise UserError(f"{self._folder}: {name} has elements that no part holds.")
        return values

    def whole(self, name: str) -> Tensor:
        """The fp32 values of one tensor, in its shape."""
        shape = torch.Size(self._shapes[name])
        return self.read(name, "fp32", 0, shape.numel()).view(shape)
