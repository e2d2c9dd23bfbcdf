"""Saved on n ranks, resumed on m: the curve of the run that was never interrupted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from job import Job
from points import EVERYTHING
from tiny import write_recipe

# 1e-5: sums over ranks are made in another order; 1e-3: and rounded to bf16 in between.
TOLERANCE = {"fp32": 1e-5, "bf16": 1e-3}
STEPS, SAVED_AT = (50, 10) if EVERYTHING else (8, 3)
PAIRS = [
    (dtype, saved, resumed)
    for dtype in TOLERANCE
    for saved in (1, 2, 3, 4)
    for resumed in (1, 2, 3, 4)
]
FEW = [("fp32", 3, 1), ("bf16", 2, 2)]


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Job]:
    """The whole run of each number of ranks, made once."""
    made: dict[tuple[str, int], Job] = {}

    def make(dtype: str, world: int) -> Job:
        if (dtype, world) not in made:
            folder = tmp_path_factory.mktemp(f"{dtype}-{world}")
            write_recipe(
                folder,
                "bert",
                prompt={"dropout": 0.0},
                backbone={"dtype": dtype},
                # The initialisation of trained models: the tests' wider one magnifies rounding.
                backbone_config={"spread": None},
                train={"steps": STEPS, "global_batch": 12, "lr": 0.003, "weight_decay": 0.01},
                evaluate={"every": SAVED_AT},
                checkpoint={"keep": 9},
            )
            job = Job(folder, world=world)
            job.start().must_succeed()
            made[dtype, world] = job
        return made[dtype, world]

    return make


@pytest.mark.parametrize(("dtype", "saved", "resumed"), PAIRS if EVERYTHING else FEW)
def test_any_number_of_ranks_goes_on(
    dtype: str,
    saved: int,
    resumed: int,
    uninterrupted: Callable[[str, int], Job],
    record: Callable[..., None],
) -> None:
    whole = uninterrupted(dtype, saved)
    job = Job(whole.folder, world=resumed, name=f"on-{resumed}")
    begin = whole.run / "checkpoints" / f"step-{SAVED_AT:08d}"
    shutil.rmtree(job.run, ignore_errors=True)
    job.start("--resume", str(begin)).must_succeed()
    expected, found = whole.losses(), job.losses()
    assert sorted(found) == list(range(SAVED_AT + 1, STEPS + 1))
    worst = max(abs(found[step] - expected[step]) / expected[step] for step in found)
    if saved == resumed:
        assert worst == 0
        assert job.result() == whole.result()
    assert worst <= TOLERANCE[dtype]
    record("ranks", dtype=dtype, saved=saved, resumed=resumed, worst=worst, steps=len(found))


def test_a_batch_that_does_not_divide_names_what_does(tmp_path: Path) -> None:
    write_recipe(tmp_path, "bert", train={"steps": 4, "global_batch": 7, "micro_batch": 2})
    group = Job(tmp_path).start()
    assert group.codes() == [2, 2]
    assert "train.global_batch" in group.text()
