"""Which checkpoint can be had, and who sends what: a pure function of what the groups have."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptv2_scale.checkpoint.manifest import MISSING, TRAINER, Manifest, Stamp, shard_name
from ptv2_scale.checkpoint.recovery import GroupInventory, RecoveryPlan, plan_recovery
from ptv2_scale.checkpoint.store import TrainerState

WORKER = Path(__file__).with_name("groups_worker.py")
NAMES = ["node1", "node2", "node3"]
SHARDS = [shard_name(rank, 3) for rank in range(3)]
STATE = TrainerState(step=8, world=3, hosts=tuple(NAMES))


def manifest(content: str = "0") -> Manifest:
    return Manifest(1, {name: Stamp(1, content * 64) for name in (*SHARDS, TRAINER)})


def having(*held: int, content: str = "0", harmed: str | None = None) -> GroupInventory:
    """What a group has, some of the shards; one of them is perhaps not as it was."""
    wrong = {name: MISSING for rank, name in enumerate(SHARDS) if rank not in held}
    if harmed is not None:
        wrong[harmed] = "has 5 bytes instead of 9"
    return GroupInventory(manifest(content), wrong, STATE)


def test_each_group_sends_what_only_it_has() -> None:
    plan = plan_recovery([having(0), having(1), having(2)], NAMES, NAMES)
    assert isinstance(plan, RecoveryPlan)
    assert plan.senders == {SHARDS[0]: 0, SHARDS[1]: 1, SHARDS[2]: 2}
    assert [sorted(names) for names in plan.lacking] == [SHARDS[1:], SHARDS[::2], SHARDS[:2]]


def test_what_all_have_is_not_sent() -> None:
    plan = plan_recovery([having(0, 1, 2), having(0, 1, 2)], NAMES[:2], NAMES[:2])
    assert isinstance(plan, RecoveryPlan)
    assert plan.senders == {}


def test_a_group_without_anything_gets_everything() -> None:
    plan = plan_recovery([None, having(0, 1), having(1, 2)], NAMES, NAMES)
    assert isinstance(plan, RecoveryPlan)
    assert plan.senders == {SHARDS[0]: 1, SHARDS[1]: 1, SHARDS[2]: 2, TRAINER: 1}
    assert plan.lacking[0] == {*SHARDS, TRAINER}


def test_a_damaged_shard_comes_from_a_group_that_has_it_undamaged() -> None:
    plan = plan_recovery([having(0, 1, 2, harmed=SHARDS[1]), having(1)], NAMES[:2], NAMES[:2])
    assert isinstance(plan, RecoveryPlan)
    assert plan.senders[SHARDS[1]] == 1
    assert SHARDS[1] in plan.lacking[0]


def test_groups_with_another_checkpoint_of_the_step_get_this_one() -> None:
    plan = plan_recovery([having(0), having(0, 1, 2, content="1"), having(1)], NAMES, NAMES)
    assert isinstance(plan, RecoveryPlan)
    assert plan.manifest == manifest("1")
    assert plan.lacking[0] == plan.lacking[2] == {*SHARDS, TRAINER}


@pytest.mark.parametrize(
    ("inventories", "said"),
    [
        ([having(0), None, having(2)],
         f"{SHARDS[1]} is on none of the hosts node1, node2, node3; node2 wrote it"),
        ([having(0), having(1, harmed=SHARDS[1]), having(2)],
         f"{SHARDS[1]} has 5 bytes instead of 9 on node2, and no other host has it;"
         " node2 wrote it"),
        ([None, GroupInventory(None, {"manifest.json": "manifest.json cannot be read (x)"}), None],
         "manifest.json cannot be read (x) on node2"),
        ([None, None, None], "there is no such directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_named(inventories: list[GroupInventory | None], said: str) -> None:
    assert plan_recovery(inventories, NAMES, NAMES) == said
