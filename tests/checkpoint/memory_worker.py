"""One rank that trains large tensors, and what each phase of a checkpoint adds to its memory.

Arguments: a folder, the recipe's section `prompt` as JSON, a DeepSpeed configuration, the elements
of a piece. Every element follows from its place alone, so that what was read can be checked without
keeping it.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import toys  # noqa: F401 - registers a method
from fake_setup import fake_setup
from safetensors import safe_open
from torch import Tensor

from ptv2_scale.checkpoint import replication
from ptv2_scale.checkpoint.file_systems import FileSystemGroups, find_file_systems
from ptv2_scale.checkpoint.manager import CheckpointManager
from ptv2_scale.checkpoint.manifest import damage
from ptv2_scale.checkpoint.recovery import find_plan
from ptv2_scale.checkpoint.replication import replicate_in_place
from ptv2_scale.checkpoint.shards import KINDS, CheckpointShards, StoredValues
from ptv2_scale.checkpoint.store import TrainerState, checkpoint_path
from ptv2_scale.config import Checkpoint
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine.build import build_engine
from ptv2_scale.engine.join import start, stop
from ptv2_scale.engine.state import EngineState, local_shards, shape_of
from ptv2_scale.engine.trained_values import read_on_first_rank
from ptv2_scale.export.card import Card
from ptv2_scale.export.native import write_export
from ptv2_scale.model.setup import Setup
from ptv2_scale.runtime import pieces
from ptv2_scale.runtime.errors import UserError

STEP = 5
CHECKED = 1 << 20  # elements compared at once


def value(name: str, kind: str, start: int, stop: int) -> Tensor:
    """What an element is, by its place."""
    last = name.rpartition(".")[2]
    offset = 1009 * (int(last) if last.isdigit() else len(name)) + 31 * KINDS.index(kind)
    return (torch.arange(start, stop, dtype=torch.int32) % 100_003 + offset).float()


def zero(name: str, kind: str, start: int, stop: int) -> Tensor:
    return torch.zeros(stop - start)


def anonymous() -> int:
    """This process's memory that is no file's, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) >> 10
    raise AssertionError("no RssAnon")


@contextmanager
def measured(growth: dict[str, int], phase: str) -> Iterator[None]:
    """How much a phase adds to this process's memory at its worst moment, in MiB."""
    # What malloc has kept of earlier phases would hide what this one takes.
    ctypes.CDLL(None).malloc_trim(0)
    torch.distributed.barrier()
    before, ended, peaks = anonymous(), threading.Event(), [0]

    def watch() -> None:
        while not ended.wait(0.002):
            peaks.append(max(peaks.pop(), anonymous()))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        growth[phase] = max(peaks[0], anonymous()) - before


def check_engine(engine: Any) -> None:
    for shard in local_shards(engine):
        for kind, values in shard.values.items():
            check(values, lambda a, b, s=shard, k=kind: value(s.name, k, s.start + a, s.start + b))
    for name, parameter in engine.module.trained().items():
        start, own = 0, parameter.data.view(-1)
        if hasattr(parameter, "ds_id"):
            own = parameter.ds_tensor
            start = own.ds_numel * parameter.ds_zero_partition_rank
            own = own[: parameter.ds_numel - start]
        check(own, lambda a, b, n=name, s=start: value(n, "fp32", s + a, s + b))


def check(values: Tensor, expected: Callable[[int, int], Tensor]) -> None:
    for low in range(0, values.numel(), CHECKED):
        high = min(low + CHECKED, values.numel())
        assert torch.equal(values[low:high], expected(low, high))


def check_export(folder: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    with safe_open(folder / "prompt.safetensors", framework="pt") as file:
        assert {*file.keys()} == shapes.keys()
        for name, shape in shapes.items():
            stored = file.get_slice(name)
            assert stored.get_shape() == list(shape)
            row = math.prod(shape[1:])
            step = max(1, CHECKED // row)
            for low in range(0, shape[0], step):
                rows = stored[low : low + step]
                first = low * row
                expected = value(name, "fp32", first, first + rows.numel())
                assert torch.equal(rows.flatten(), expected)


def card_of(setup: Setup) -> Card:
    recipe = setup.config.model_dump(mode="json")
    return Card("none", "none", "", recipe, "linear", {}, (), {})


def said(action: Callable[[], Any]) -> str:
    """The message of a user's error."""
    try:
        action()
    except UserError as error:
        return str(error)
    raise AssertionError("no error")


def refuse_exports(folder: Path, card: Card, engine: Any, ranks: RankContext) -> list[str]:
    """What every rank says where rank 0 cannot write: at once, or after some pieces were sent."""

    def existing(trained: Any) -> None:
        write_export(folder / "export", card, trained)

    def interrupted(trained: Any) -> None:
        trained.read(trained.names()[0], 0, 3)
        raise UserError("planted by the test")

    def refused(action: Callable[[Any], None]) -> str:
        return said(lambda: read_on_first_rank(engine, ranks, action))

    return [refused(existing), refused(interrupted)]


def main(folder: Path, section: dict[str, Any], name: str, piece: int) -> None:
    pieces.PIECE, replication._PIECE = piece, min(replication._PIECE, 4 * piece)
    ranks = start(1)
    setup = fake_setup(folder / "backbone", prompt=section, deepspeed=name)
    engine, card = build_engine(setup, ranks), card_of(setup)
    shapes = {name: shape_of(parameter) for name, parameter in engine.module.trained().items()}
    trained, groups = EngineState(engine), find_file_systems(folder, ranks)
    growth: dict[str, int] = {}
    (folder / "checkpoints").mkdir(exist_ok=True)
    manager = CheckpointManager(trained, folder, Checkpoint(), groups, print)
    trained.restore(value, STEP)
    with measured(growth, "save"):
        assert manager.save(TrainerState(step=STEP, world=ranks.world))
    trained.restore(zero, 0)
    with measured(growth, "resume"):
        manager.restore(checkpoint_path(folder, STEP))
    check_engine(engine)
    with measured(growth, "export"):
        read_on_first_rank(
            engine, ranks, lambda values: write_export(folder / "export", card, values)
        )
    stored = StoredValues(CheckpointShards(checkpoint_path(folder, STEP)))
    with measured(growth, "export from shards"):
        if ranks.first:
            write_export(folder / "from-shards", card, stored)
    if ranks.first:
        check_export(folder / "export", shapes)
        check_export(folder / "from-shards", shapes)
    refused = refuse_exports(folder, card, engine, ranks)
    with measured(growth, "replicate"):
        replicate_apart(folder, ranks)
    print("FOUND", json.dumps({"growth": growth, "refused": refused}), flush=True)
    stop()


def replicate_apart(folder: Path, ranks: RankContext) -> None:
    """As if each rank were a host of its own: the first one has everything, the others nothing."""
    groups = FileSystemGroups(
        ranks, tuple(range(ranks.world)), tuple(f"node{n}" for n in range(ranks.world))
    )
    own = folder if ranks.first else folder / f"node{ranks.rank}"
    path = checkpoint_path(own, STEP)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert not isinstance(find_plan(path, groups), str)
    replicate_in_place(path, groups)
    assert damage(path) is None


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
