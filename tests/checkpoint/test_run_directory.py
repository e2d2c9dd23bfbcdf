"""Nothing is written or deleted where a run's own mark is not, nor in another run's directory."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path

import pytest
import ranks
from safetensors.torch import load_file, save_file
from tiny import write_recipe

from ptv2_scale.checkpoint.run_directory import MARK, NewDirectory, check_own_or_new
from ptv2_scale.runtime.errors import UserError

OLD = Path(__file__).parents[1] / "fixtures" / "run-0.1.0" / "run"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe whose run is finished."""
    folder = tmp_path_factory.mktemp("job")
    recipe = write_recipe(
        folder, "bert", train={"steps": 4, "micro_batch": 6}, prompt={"length": 2}
    )
    ranks.cli(1, "train", str(recipe)).must_succeed()
    return recipe


@pytest.fixture
def run(done: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return shutil.copytree(done.parent / "run", tmp_path / "copy")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"folder"
        for path in folder.rglob("*")
    }


def refused(recipe: Path, run: Path, *words: str) -> None:
    """The command line refuses to go on there, says why, and leaves every file as it was."""
    before = snapshot(run)
    ended = ranks.cli(1, "train", str(recipe), f"run={run}", "--resume", "auto")
    assert ended.code == 2, ended.outputs[0]
    for word in words:
        assert word in ended.outputs[0]
    assert "Traceback" not in ended.outputs[0]
    assert snapshot(run) == before


def test_a_users_folder_is_left_alone(done: Path, tmp_path: Path) -> None:
    exp = tmp_path / "exp"
    (exp / "export").mkdir(parents=True)
    (exp / "recipe.yaml").write_text("mine: true\n")
    (exp / "export" / "notes.txt").write_text("mine too")
    refused(done, exp, f"{exp}: is not the directory of a run, and has files: export, recipe.yaml")


COPIED = "checkpoints/step-00000001/x"
FOREIGN = [
    {"recipe.yaml": "backbone: {name: x}\ntask: {name: y}\n", COPIED: ""},
    {"recipe.yaml": "# mine\n" + (OLD / "recipe.yaml").read_text(), COPIED: ""},
    {"checkpoints/model.pt": "weights"},
    {COPIED: "", "metrics.jsonl": "{}\n"},
    {"logs/rank-00000.log": "mine"},
    {"status.json": "{}", "result.json": "{}"},
    {".hidden": ""},
]  # fmt: skip


@pytest.mark.parametrize("files", FOREIGN, ids=lambda files: next(iter(files)))
def test_no_mark_no_run(files: dict[str, str], tmp_path: Path) -> None:
    for name, content in files.items():
        path = tmp_path / "exp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    with pytest.raises(UserError, match="is not the directory of a run, and has files: "):
        check_own_or_new(tmp_path / "exp")


def test_runs_of_before_and_the_beginnings_of_runs_are_known(run: Path, tmp_path: Path) -> None:
    assert (run / "recipe.yaml").read_text().startswith(MARK)
    begun = tmp_path / "begun"
    for one in (tmp_path / "none", OLD, run, begun):
        check_own_or_new(one)
    for name in ("checkpoints", "checkpoints/.step-00000004.building", "checkpoints/step-00000004"):
        (begun / name).mkdir(parents=True)
        check_own_or_new(begun)


def test_a_run_without_a_checkpoint_is_the_same_recipes_alone(done: Path, run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    recipe = done.parent / "other.yaml"
    recipe.write_text(done.read_text().replace("lr: 0.01", "lr: 0.02"))
    refused(recipe, run, "is the directory of another run", "train.lr was 0.01 and is 0.02")


def test_an_export_is_made_anew_file_by_file(done: Path, run: Path) -> None:
    export = run / "export"
    as_written = (export / "prompt.safetensors").read_bytes()
    (export / "prompt.safetensors").write_bytes(b"stale")
    (export / "README.md").write_text("my own words")
    (export / "notes.txt").write_text("mine")
    (export / "figures").mkdir()
    (export / "figures" / "loss.png").write_bytes(b"mine too")
    ended = ranks.cli(1, "train", str(done), f"run={run}", "--resume", "auto").must_succeed()
    assert (export / "prompt.safetensors").read_bytes() == as_written
    assert (export / "README.md").read_text() == "my own words"
    assert "README.md: has been changed, so it is left as it is" in ended.outputs[0]
    assert (export / "notes.txt").read_text() == "mine"
    assert (export / "figures" / "loss.png").read_bytes() == b"mine too"
    assert not list(run.glob(".export*"))


@pytest.mark.parametrize("name", ["notes.txt", "card.json"])
def test_what_is_no_export_is_found_before_anything_is_written(
    name: str, done: Path, run: Path
) -> None:
    shutil.rmtree(run / "export")
    (run / "export").mkdir()
    (run / "export" / name).write_text(json.dumps({"mine": True}))
    refused(done, run, f"{run / 'export'}: a run's export is to be written there")


def test_seconds_memory_and_step_are_of_the_whole_run(done: Path, run: Path) -> None:
    """What the processes before took stands in the checkpoint that a run goes on from."""
    checkpoint = run / "checkpoints" / "step-00000004"
    state = json.loads((checkpoint / "trainer.json").read_text())
    first = json.loads((run / "result.json").read_text())
    assert 0 < state["seconds"] <= first["seconds"]
    state.update(seconds=1000.0, peak_memory_bytes=1 << 50)
    content = json.dumps(state).encode()
    (checkpoint / "trainer.json").write_bytes(content)
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    stamp = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["files"]["trainer.json"] = stamp
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    ranks.cli(1, "train", str(done), f"run={run}", "--resume", "auto").must_succeed()
    again = json.loads((run / "result.json").read_text())
    assert 1000 < again["seconds"] < 1000 + 300
    assert again["peak_memory_bytes"] == 1 << 50
    status = json.loads((run / "status.json").read_text())
    assert (status["state"], status["step"]) == ("done", 4)


@pytest.mark.parametrize("world", [1, 2])
def test_a_run_that_is_refused_late_leaves_nothing(world: int, done: Path, tmp_path: Path) -> None:
    """The guard fails on the backbone once it is loaded; corrected, the same command runs."""
    backbone = shutil.copytree(done.parent / "backbone", tmp_path / "backbone")
    weights = load_file(backbone / "model.safetensors")
    silent = {name: tensor * math.nan for name, tensor in weights.items()}
    save_file(silent, backbone / "model.safetensors", {"format": "pt"})
    few = ("train.steps=2", "train.micro_batch=3", "train.head_only_baseline=false")
    run = tmp_path / "runs" / "deep" / "one"
    command = ("train", str(done), f"run={run}", *few, "trackers=[tensorboard]")
    ended = ranks.cli(world, *command, f"backbone.name={backbone}")
    assert (ended.code, "Traceback" in "".join(ended.outputs)) == (2, False), ended.outputs
    assert "no gradient reaches the prefix" in ended.outputs[0]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["backbone"]
    ranks.cli(world, *command).must_succeed()


@pytest.mark.parametrize("mine", ["runs/notes.txt", "runs/one/notes.txt", "runs/one/logs/a.txt"])
def test_only_what_a_start_has_made_is_removed(mine: str, tmp_path: Path) -> None:
    run, notes = tmp_path / "runs" / "one", tmp_path / mine
    new = NewDirectory(run)
    new.make()
    new.take()
    for name in ("recipe.yaml", "status.json", "metrics.jsonl", ".lock", "logs/rank-00001.log"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).touch()
    notes.touch()
    new.remove()
    left = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {notes}
    assert run.exists() == (run in notes.parents)


@pytest.mark.parametrize("first", ["keep", "filled"])
def test_what_was_there_before_or_is_to_stay_stays(first: str, tmp_path: Path) -> None:
    new = NewDirectory(tmp_path / "run")
    new.make()
    if first == "keep":
        new.take()
        new.keep()
    (tmp_path / "run" / "metrics.jsonl").touch()
    if first == "filled":
        new.take()
    new.remove()
    assert (tmp_path / "run" / "metrics.jsonl").exists()
