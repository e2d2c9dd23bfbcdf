"""One rank that keeps checkpoints as it is told by lines of JSON, and answers with such lines."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed

from ptv2_scale.checkpoint.compatibility import RunContent
from ptv2_scale.checkpoint.file_systems import find_file_systems
from ptv2_scale.checkpoint.manifest import damage
from ptv2_scale.checkpoint.resume import find_start, open_run
from ptv2_scale.checkpoint.run_directory import NewDirectory
from ptv2_scale.checkpoint.shards import KINDS, CheckpointShards, LocalShard
from ptv2_scale.checkpoint.store import TrainerState, prune, save
from ptv2_scale.config import load_recipe
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.run_identity import RunIdentity

EACH = 10  # elements of the one tensor on each rank
RUN = Path(sys.argv[1])
CONFIG = load_recipe(Path(sys.argv[2]), [])
CONTENT = RunContent(CONFIG, "", RunIdentity())


def values(kind: str, step: int, world: int) -> torch.Tensor:
    return torch.arange(EACH * world, dtype=torch.float32) + 1000 * step + KINDS.index(kind)


def write(ranks: RankContext, step: int) -> Any:
    start = EACH * ranks.rank
    mine = {kind: values(kind, step, ranks.world)[start : start + EACH] for kind in KINDS}
    shard = LocalShard("x", (EACH * ranks.world,), start, mine)
    groups = find_file_systems(RUN, ranks)
    state = TrainerState(
        step=step, recipe=CONFIG.model_dump(mode="json"), world=ranks.world, hosts=groups.hosts
    )
    return str(save(RUN, state, [shard], groups))


def resume(ranks: RankContext, how: str) -> Any:
    groups = find_file_systems(RUN, ranks)
    found = open_run(RUN, find_start(RUN, how, CONTENT, groups), CONFIG, groups, NewDirectory(RUN))
    skipped = [str(one) for one in found.skipped]
    if found.path is None:
        return {"path": None, "skipped": skipped, "leaders": groups.leader_of}
    stored, step = CheckpointShards(found.path), int(found.path.name[-8:])
    size = stored.shapes()["x"][0]
    same = all(
        torch.equal(stored.read("x", kind, 0, size), values(kind, step, size // EACH))
        for kind in KINDS
    )
    assert damage(found.path) is None
    assert same
    return {"path": found.path.name, "skipped": skipped, "leaders": groups.leader_of}


def act(ranks: RankContext, order: dict[str, Any]) -> Any:
    if "save" in order:
        return write(ranks, order["save"])
    if "groups" in order:
        return find_file_systems(Path(order["groups"]), ranks).leader_of
    if "prune" in order:
        return prune(RUN, order["prune"], None)
    return resume(ranks, order["resume"])


def main() -> None:
    torch.distributed.init_process_group("gloo")
    world = torch.distributed.get_world_size()
    ranks = RankContext(int(os.environ["RANK"]), world, 0, 1, torch.device("cpu"))
    for line in sys.stdin:
        try:
            answer = {"value": act(ranks, json.loads(line))}
        except UserError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


main()
