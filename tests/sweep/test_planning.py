"""What cells take, and which of them do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ptv2_scale.demo import BACKBONE
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.sweep import planning
from ptv2_scale.sweep.api import Sweep
from ptv2_scale.sweep.cells import Cell
from ptv2_scale.sweep.config import Launch
from ptv2_scale.sweep.planning import CellPlan, cells_that_do_not_fit, memory_limit, plan_cells

Write = Callable[..., Path]


def test_what_a_cell_takes_is_that_of_its_model(small: Sweep) -> None:
    head, prefix = plan_cells(small.cells, Launch(nproc=1)).values()
    assert isinstance(head, CellPlan)
    assert isinstance(prefix, CellPlan)
    shape = json.loads((BACKBONE / "config.json").read_text())
    layers = shape["num_layers"] + 2 * shape["num_decoder_layers"]
    # Keys and values of 4 tokens in every layer of the encoder, the decoder, and between them.
    more = prefix.trained - head.trained
    assert more == 4 * 2 * layers * shape["num_heads"] * shape["d_kv"]
    assert 0 < head.trained < prefix.trained < prefix.parameters
    assert 2 * 4 * head.parameters < head.memory  # fp32 shards, as much gathered, activations


def test_a_cell_is_sharded_as_its_runs_will_be(write: Write) -> None:
    def memory(sharding: str, launch: Launch) -> int:
        path = write(**{"train.steps: 5": f"train.steps: 5, deepspeed: {sharding}"})
        _, found = plan_cells(Sweep.read(path).cells, launch).values()
        assert isinstance(found, CellPlan)
        return found.memory

    two = Launch(nproc=2, gpu_memory=80)
    assert memory("auto", two) == memory("zero1", two) != memory("zero3", two)
    unknown = Launch(slurm=True)  # nobody knows of which GPUs
    assert memory("auto", unknown) == memory("zero1", unknown)
    scarce = Launch(nproc=2, gpu_memory=1e-6)
    assert memory("auto", scarce) == memory("zero3_offload_cpu", scarce)


def test_cells_that_are_alike_are_estimated_once(
    small: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def plan(cell: Cell, launch: Launch, limit: int | None) -> CellPlan:
        asked.append((cell.label, limit))
        if cell.label == "prefix":
            raise UserError("no such backbone")
        return CellPlan(25, 1000, 10**10)

    monkeypatch.setattr(planning, "plan_cell", plan)
    twin = replace(small.cells[0], label="twin")
    plans = plan_cells([*small.cells, twin], Launch(gpu_memory=9.5))
    assert asked == [("head only", 9_500_000_000), ("prefix", 9_500_000_000)]
    assert (list(plans), plans["twin"]) == (["head only", "prefix", "twin"], plans["head only"])
    # 10 GB less a tenth are 9 GB; what is not known may fit.
    assert cells_that_do_not_fit(plans, Launch(gpu_memory=9.5)) == {}
    found = cells_that_do_not_fit(plans, Launch(gpu_memory=8.9))
    assert found == dict.fromkeys(("head only", "twin"), "needs about 10 GB of a GPU with 8.9 GB")
    assert cells_that_do_not_fit(plans, Launch(gpu_memory=8.9, does_not_fit="run")) == {}


def test_the_limit_is_that_of_the_gpus_that_trials_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptv2_scale.distributed.memory.gpu_memory", lambda: 7)
    assert memory_limit(Launch()) == 7
    assert memory_limit(Launch(slurm=True)) is None
    assert memory_limit(Launch(slurm=True, gpu_memory=2.5)) == 2_500_000_000


def test_what_does_not_fit_is_never_begun_until_it_may_be(write: Write) -> None:
    def opened(launch: str) -> Sweep:
        path = write(**{"at_once: 2, nproc: 1": f"at_once: 2, nproc: 1{launch}"})
        return Sweep.read(path)

    asked = opened(", gpu_memory: 0.000001")
    scheduler = asked.scheduler(lambda state: lambda trial, ending: None)
    assert scheduler.run()  # there is nothing to run
    found = scheduler.state.load()
    assert {one.state for one in found} == {"does not fit"}
    assert all("of a GPU with 1e-06 GB" in one.reason for one in found)
    assert scheduler.state.retry(asked.cells) == 0
    asked.scheduler(lambda state: lambda trial, ending: None)
    assert len(scheduler.state.load()) == len(found) == 4
    allowed = opened(", gpu_memory: 0.000001, does_not_fit: run")
    again = allowed.scheduler(lambda state: lambda trial, ending: None).state
    assert [one.state for one in again.load()] == ["waiting"] * 4
    # Back again: what waits is left out, what was begun is not.
    claimed = again.claim(allowed.cells)
    assert claimed is not None
    asked.scheduler(lambda state: lambda trial, ending: None)
    assert [one.state for one in again.load()].count("does not fit") == 3
    assert [one.state for one in again.load()].count("running") == 1
    claimed.lease.release()
