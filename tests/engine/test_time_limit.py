"""A limit on time too short for a step: the second attempt that gets nowhere has failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import ranks
from tiny import write_recipe

import ptv2_scale
from ptv2_scale.runtime.exit_codes import FAILED, SAVED

SHORT = "train.time_limit=0.001s"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    train = {"steps": 2, "micro_batch": 6}
    return write_recipe(tmp_path, "bert", train=train, prompt={"length": 2})


def status_of(recipe: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((recipe.parent / "run" / "status.json").read_text())
    return found


def rewrite(recipe: Path, **changes: object) -> None:
    path = recipe.parent / "run" / "status.json"
    path.write_text(json.dumps({**status_of(recipe), **changes}))


def attempt(recipe: Path, *arguments: str) -> tuple[int, str]:
    ended = ranks.cli(1, "train", str(recipe), "--resume", "auto", *arguments)
    return ended.code, ended.outputs[0]


def test_by_the_command_line(recipe: Path) -> None:
    code, said = attempt(recipe, SHORT)
    assert (code, status_of(recipe)["state"]) == (SAVED, "stopped")
    assert "stopped by the time limit before the first step. Go on with --resume auto." in said
    for _ in range(2):
        code, said = attempt(recipe, SHORT)
        assert code == FAILED
        assert "as far as the attempt before had come" in said
        assert "train.time_limit" in said
        assert "Traceback" not in said
        status = status_of(recipe)
        assert (status["state"], status["exit_code"], status["step"]) == ("failed", FAILED, 0)
    assert attempt(recipe)[0] == 0


def stopped(recipe: Path) -> ptv2_scale.Stopped:
    with pytest.raises(ptv2_scale.Stopped) as found:
        ptv2_scale.train(recipe, [SHORT], resume="auto")
    return found.value


def test_what_counts_as_progress(recipe: Path) -> None:
    assert stopped(recipe).code == SAVED
    rewrite(recipe, state="running", exit_code=None)  # killed at Slurm's limit, with no word
    assert stopped(recipe).code == FAILED
    rewrite(recipe, step=1)  # as if the attempt before had come to another step
    assert stopped(recipe).code == SAVED
    ptv2_scale.train(recipe, resume="auto")
    assert stopped(recipe).code == SAVED  # it was done
    assert stopped(recipe).code == FAILED
    assert status_of(recipe)["step"] == 2
