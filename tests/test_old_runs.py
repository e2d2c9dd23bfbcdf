"""A run and an export that version 0.1.0 wrote: still resumed, exported and loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import ranks
import torch
from safetensors.torch import load_file

from ptv2_scale import load_prompted
from ptv2_scale.cli import main

OLD = Path(__file__).with_name("fixtures") / "run-0.1.0"


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all that 0.1.0 has left, as the current folder: its paths are relative."""
    folder = tmp_path / "old"
    shutil.copytree(OLD, folder)
    monkeypatch.chdir(folder)
    return folder


def same_tensors(one: Path, other: Path) -> None:
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    for name, values in first.items():
        assert torch.equal(values, second[name]), name


def test_classes_of_an_old_run_keep_their_numbers(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0.1.0 has ordered numbers as words, and stored no order: "10" was class 0."""
    for path in (old / "data").glob("*.jsonl"):
        path.write_text(path.read_text().replace('"no"', '"2"').replace('"yes"', '"10"'))
    assert main(["export", "run", "again"]) == 2
    assert 'Go on with task.labels=["10", "2"]' in capsys.readouterr().err
    assert main(["export", "run", "again", 'task.labels=["10", "2"]']) == 0
    card = json.loads((old / "again" / "card.json").read_text())
    assert card["recipe"]["task"]["labels"] == ["10", "2"]


def losses(run: Path) -> dict[int, float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines if line["event"] == "step"}


def test_an_old_run_is_exported_to_the_same_file(old: Path) -> None:
    assert main(["export", "run", "again"]) == 0
    names = ("prompt.safetensors", "card.json", "README.md")
    assert sorted(path.name for path in (old / "again").iterdir()) == sorted(names)
    same_tensors(old / "again" / names[0], old / "export" / names[0])
    assert (old / "again" / names[0]).read_bytes() == (old / "export" / names[0]).read_bytes()


@pytest.mark.parametrize("source", ["run", "export"])
def test_an_old_export_gives_the_same_logits(source: str, old: Path) -> None:
    expected = load_file(old / "expected.safetensors")
    logits = expected.pop("logits")
    with torch.no_grad():
        found = load_prompted(source, backbone="backbone")(**expected).logits
    torch.testing.assert_close(found, logits, rtol=0, atol=1e-6)


def test_an_old_run_predicts_the_same(old: Path) -> None:
    """The answer stands beside the row's own label; what a killed command has left is no matter."""
    left = old / ".now.jsonl.begun.partial"
    left.write_text("half a li")
    arguments = ("--input", "data/validation.jsonl", "--output", "now.jsonl")
    ranks.cli(1, "predict", "run", *arguments).must_succeed()
    found, expected = (
        [json.loads(line) for line in (old / name).read_text().splitlines()]
        for name in ("now.jsonl", "predicted.jsonl")
    )
    assert len(found) == len(expected) == 7
    assert not left.exists()
    rows = [json.loads(line) for line in (old / "data/validation.jsonl").read_text().splitlines()]
    assert [{key: mine[key] for key in row} for mine, row in zip(found, rows, strict=True)] == rows
    for mine, theirs in zip(found, expected, strict=True):
        now = mine["prediction"]  # beside the row's own columns, which it took the place of
        assert now["label"] == theirs["label"]
        assert now["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-6)


def test_an_old_run_goes_on_to_its_old_end(old: Path) -> None:
    """As it was after step 4 of 8: the same curve and, by the same libraries, the same bits."""
    ended = {name: old / "ended" / name for name in ("checkpoints", "export", "metrics.jsonl")}
    shutil.copytree(old / "run", old / "ended")
    for name in ("result.json", "metrics.jsonl"):
        (old / "run" / name).unlink()
    shutil.rmtree(old / "run" / "export")
    shutil.rmtree(old / "run" / "checkpoints" / "step-00000008")
    (old / "elsewhere").mkdir()
    (old / "data").rename(old / "elsewhere" / "data")
    (old / "backbone").rename(old / "elsewhere" / "backbone")
    moved = ("backbone.name=elsewhere/backbone", "task.path=elsewhere/data")
    ranks.cli(2, "train", "recipe.yaml", *moved, "--resume", "auto").must_succeed()
    before, now = losses(old / "ended"), losses(old / "run")
    assert sorted(now) == [5, 6, 7, 8]
    assert now == pytest.approx({step: before[step] for step in now}, rel=1e-5)
    exported = load_file(old / "run" / "export" / "prompt.safetensors")
    for name, values in load_file(ended["export"] / "prompt.safetensors").items():
        torch.testing.assert_close(exported[name], values, rtol=1e-4, atol=1e-5)
