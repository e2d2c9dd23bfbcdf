"""A rank that fails, before the ranks have met or after, speaks; all others end with its code."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import ranks
from tiny import write_recipe

WORKER = Path(__file__).with_name("session_worker.py")
# Far below the 30 minutes that ranks wait for each other otherwise.
LONGEST_S = 150


def end_together(*commands: tuple[str, ...]) -> tuple[list[int], list[str]]:
    """Codes and outputs of ranks, none of which is ended from outside."""
    port, world = ranks.free_port(), len(commands)
    made = [
        ranks.begin(command, ranks.environment(rank, world, port))
        for rank, command in enumerate(commands)
    ]
    try:
        outputs = [process.communicate(timeout=LONGEST_S)[0] for process in made]
    finally:
        for process in made:
            process.kill()
    return [process.returncode for process in made], outputs


FAILURES = [("load", "mistake", 2), ("join", "error", 3), ("prepare", "mistake", 2)]


@pytest.mark.parametrize(("place", "kind", "code"), FAILURES)
def test_a_rank_that_fails_ends_the_others(place: str, kind: str, code: int) -> None:
    command = ranks.worker(WORKER, f"{place} {kind}")
    codes, outputs = end_together(command, command)
    assert codes == [code, code], outputs
    said = "".join(outputs)
    assert said.count("ptv2-scale: rank 1 on ") == 1, said[-4000:]
    assert "planted" in said
    assert "acted" not in said


def test_a_rank_that_is_killed_while_it_opens_its_files_ends_the_others() -> None:
    command = ranks.worker(WORKER, "prepare killed")
    codes, outputs = end_together(command, command)
    assert codes == [3, -9], outputs
    assert "rank 1 on " in outputs[0]
    assert "was killed or crashed" in outputs[0]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    train = {"steps": 2, "global_batch": 6, "micro_batch": 3}
    return write_recipe(tmp_path_factory.mktemp("job"), "bert", train=train, prompt={"length": 2})


def test_what_one_rank_alone_lacks(recipe: Path, tmp_path: Path) -> None:
    """By the command line: the recipe, or its data."""
    good = ("-m", "ptv2_scale", "train", str(recipe), f"run={tmp_path / 'run'}")
    lacking = tmp_path / "nosuch.yaml"
    codes, outputs = end_together(good, (*good[:3], str(lacking)))
    assert codes == [2, 2], outputs
    assert "".join(outputs).count(f"{lacking}: no such file.") == 1
    data = shutil.copytree(recipe.parent / "data", tmp_path / "data")
    (data / "train.jsonl").unlink()
    codes, outputs = end_together((*good, f"task.path={data}"), good)
    assert codes == [2, 2], outputs
    assert "".join(outputs).count(f"{data / 'train.jsonl'}") == 1
    assert not (tmp_path / "run").exists()


def test_a_mistake_of_all_ranks_is_said_once(recipe: Path, tmp_path: Path) -> None:
    bad = ("-m", "ptv2_scale", "train", str(recipe), f"run={tmp_path / 'run'}", "train.lrr=1")
    codes, outputs = end_together(bad, bad, bad)
    assert codes == [2, 2, 2], outputs
    assert outputs[0].count("ptv2-scale: override 'train.lrr=1': train.lrr: unknown key.") == 1
    assert outputs[1:] == ["", ""]
    assert "Traceback" not in "".join(outputs)
