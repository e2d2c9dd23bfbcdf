"""Checkpoints: published whole, damage found, the newest valid one taken, any cut readable."""

from __future__ import annotations

import shutil
from math import nan
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from ptv2_scale.checkpoint import store as checkpoint
from ptv2_scale.checkpoint.file_systems import alone
from ptv2_scale.checkpoint.manifest import Stamp, damage, write_manifest
from ptv2_scale.checkpoint.recovery import Found, newest
from ptv2_scale.checkpoint.resume import open_run
from ptv2_scale.checkpoint.run_directory import NewDirectory
from ptv2_scale.checkpoint.shards import KINDS, CheckpointShards, LocalShard
from ptv2_scale.checkpoint.store import Best, TrainerState
from ptv2_scale.checkpoint.transaction import CheckpointNotWrittenError
from ptv2_scale.config import load_recipe
from ptv2_scale.demo import RECIPE as DEMO
from ptv2_scale.runtime.errors import UserError


def shards(seed: int = 0) -> list[LocalShard]:
    generator = torch.Generator().manual_seed(seed)
    return [
        LocalShard(name, shape, 0, {
            kind: torch.randn(torch.Size(shape).numel(), generator=generator) for kind in KINDS
        })
        for name, shape in (("prefix_encoder.table", (3, 8)), ("head.out_proj.bias", (3,)))
    ]  # fmt: skip


def save(run: Path, step: int, best: Best | None = None) -> Path:
    (run / "checkpoints").mkdir(exist_ok=True)
    return checkpoint.save(run, TrainerState(step=step, best=best), shards(step), alone())


def test_what_was_saved_is_read_back(tmp_path: Path) -> None:
    folder = save(tmp_path, 500, Best(400, 0.75))
    assert folder == tmp_path / "checkpoints" / "step-00000500"
    assert damage(folder) is None
    assert checkpoint.read_state(folder) == TrainerState(step=500, best=Best(400, 0.75))
    stored = CheckpointShards(folder)
    for shard in shards(500):
        for kind, values in shard.values.items():
            assert torch.equal(stored.read(shard.name, kind, 0, values.numel()), values)
        assert torch.equal(stored.whole(shard.name), shard.values["fp32"].view(shard.shape))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [folder.name]


def test_nothing_half_written_counts(tmp_path: Path) -> None:
    whole = save(tmp_path, 3)
    for path in sorted(whole.iterdir()):
        half = whole.with_name("step-00000009")
        shutil.copytree(whole, half)
        (half / path.name).unlink()
        assert newest(tmp_path, alone()).path == whole
        shutil.rmtree(half)


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    best = Best(2, 0.9)
    for step in range(1, 7):
        save(tmp_path, step, best)
        checkpoint.prune(tmp_path, 2, best)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000002", "step-00000005", "step-00000006"]


def test_saving_a_step_again_keeps_the_other_one(tmp_path: Path) -> None:
    first = (save(tmp_path, 7) / "trainer.json").read_bytes()
    save(tmp_path, 7, Best(7, 0.5))
    assert (
        tmp_path / "checkpoints" / "step-00000007.replaced" / "trainer.json"
    ).read_bytes() == first
    found = newest(tmp_path, alone())
    assert found.path is not None
    assert checkpoint.read_state(found.path).best == Best(7, 0.5)


def test_a_file_in_the_way_is_a_message_and_older_checkpoints_stay(tmp_path: Path) -> None:
    older = save(tmp_path, 1)
    (tmp_path / "checkpoints" / ".step-00000002.building").write_text("in the way")
    with pytest.raises(CheckpointNotWrittenError, match="could not be written: Not a directory"):
        save(tmp_path, 2)
    assert newest(tmp_path, alone()).path == older


def vouch_for(folder: Path) -> None:
    """Write a manifest of shards that a test has made by itself."""
    (folder / "trainer.json").write_text("{}")
    write_manifest(folder, {path.name: Stamp(0, "0" * 64) for path in folder.iterdir()})


@settings(max_examples=60)
@given(numel=st.integers(1, 40), cuts=st.lists(st.integers(0, 40), max_size=5), data=st.data())
def test_any_cut_over_ranks_is_read_as_the_whole(
    numel: int, cuts: list[int], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    values = torch.arange(numel, dtype=torch.float32)
    edges = [0, *sorted(min(cut, numel) for cut in cuts), numel]
    for rank, (start, stop) in enumerate(zip(edges, edges[1:], strict=False)):
        where = f'{{"x": {{"start": {start}, "shape": [{numel}]}}}}' if start < stop else "{}"
        tensors = {"x/fp32": values[start:stop].clone()} if start < stop else {}
        path = folder / f"part-{rank:05d}-of-{len(edges) - 1:05d}.safetensors"
        save_file(tensors, path, metadata={"parts": where})
    vouch_for(folder)
    low = data.draw(st.integers(0, numel))
    high = data.draw(st.integers(low, numel))
    assert torch.equal(CheckpointShards(folder).read("x", "fp32", low, high), values[low:high])


def test_a_missing_piece_is_an_error(tmp_path: Path) -> None:
    where = '{"x": {"start": 0, "shape": [4]}}'
    save_file(
        {"x/fp32": torch.zeros(3)}, tmp_path / "part-00000-of-00002.safetensors", {"parts": where}
    )
    save_file({}, tmp_path / "part-00001-of-00002.safetensors", {"parts": "{}"})
    vouch_for(tmp_path)
    with pytest.raises(UserError, match="x has elements that no shard holds"):
        CheckpointShards(tmp_path).whole("x")


@pytest.mark.parametrize("name", ["recipe.yaml", "checkpoints", "metrics.jsonl"])
def test_a_run_does_not_write_through_links(name: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    (run / name).symlink_to(elsewhere)
    with pytest.raises(UserError, match=f"{name}: is a link"):
        open_run(run, Found(None, []), load_recipe(DEMO, []), alone(), NewDirectory(run))
    assert elsewhere.read_text() == "mine"
    assert [path.name for path in run.iterdir()] == [name]


@pytest.mark.parametrize(
    ("best", "later", "beaten"),
    [
        (0.5, 0.6, True), (0.5, 0.5, False), (0.5, 0.4, False),
        (0.5, nan, False), (nan, 0.1, True), (nan, nan, False),
    ],
)  # fmt: skip
def test_a_metric_that_is_not_a_number_beats_nothing(
    best: float, later: float, beaten: bool
) -> None:
    assert Best(1, best).is_beaten_by(later) is beaten
