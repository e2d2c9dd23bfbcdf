"""Keys that say `auto`: chosen alike on all ranks, stored in the run, and taken from it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny import write_recipe

import ptv2_scale
from ptv2_scale.backbones import dtypes
from ptv2_scale.config import RunConfig, load_recipe
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine import automatic, memory_check

CPU = torch.device("cpu")
AUTO = {"dtype": "auto"}


def processor(folder: Path, monkeypatch: pytest.MonkeyPatch, *, bf16: bool) -> None:
    """Let this machine be one with units for bf16, or without."""
    file = folder / f"cpuinfo-{bf16}"
    file.write_text(f"flags : avx512f{' avx512_bf16' * bf16}\n")
    monkeypatch.setattr(dtypes, "CPU_INFO", file)


def recipe_of(folder: Path, **sections: Any) -> RunConfig:
    return load_recipe(write_recipe(folder, "bert", backbone=AUTO, **sections))


@pytest.mark.parametrize(("other", "wanted"), [("bf16", "bf16"), ("fp32", "fp32")])
def test_all_ranks_take_what_suits_each_of_them(
    other: str, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(tmp_path, monkeypatch, bf16=True)
    config = recipe_of(tmp_path)

    def gather(value: Any, ranks: RankContext) -> list[Any]:
        return [value, other if value in ("bf16", "fp32") else value]

    monkeypatch.setattr(automatic, "gather", gather)
    ranks = RankContext(0, 2, 0, 2, CPU)
    found = automatic.resolve(config, tmp_path / "run", "never", ranks)
    assert (found.config.backbone.dtype, found.chosen) == (wanted, (f"backbone.dtype={wanted}",))
    named = config.model_copy(update={"backbone": found.config.backbone})
    assert automatic.resolve(named, tmp_path / "run", "never", ranks).chosen == ()


def test_a_rank_whose_host_lacks_the_run_takes_what_another_has_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(tmp_path, monkeypatch, bf16=True)
    stored = {"backbone.dtype": "fp32"}
    monkeypatch.setattr(automatic, "gather", lambda value, ranks: [value, (value[0], stored)])
    ranks = RankContext(0, 2, 0, 2, CPU)
    found = automatic.resolve(recipe_of(tmp_path), tmp_path / "gone", "auto", ranks)
    assert (found.config.backbone.dtype, found.chosen) == ("fp32", ())


def test_a_run_keeps_what_it_has_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {"steps": 2}
    recipe = write_recipe(tmp_path, "bert", backbone=AUTO, train=few, evaluate={"every": 2})
    processor(tmp_path, monkeypatch, bf16=False)
    ptv2_scale.train(recipe)
    assert "chosen for this run: backbone.dtype=fp32" in capsys.readouterr().err
    assert yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())["backbone"]["dtype"] == "fp32"
    assert ptv2_scale.read_card(tmp_path / "run").recipe["backbone"]["dtype"] == "fp32"
    processor(tmp_path, monkeypatch, bf16=True)
    config, alone = load_recipe(recipe), RankContext.alone()
    (checkpoint,) = (tmp_path / "run/checkpoints").glob("step-*")
    for run, resume in ((tmp_path / "run", "auto"), (tmp_path / "copy", str(checkpoint))):
        found = automatic.resolve(config, run, resume, alone)
        assert (found.config.backbone.dtype, found.chosen) == ("fp32", ())
    assert automatic.resolve(config, tmp_path / "new", "never", alone).chosen == (
        "backbone.dtype=bf16",
    )


def test_as_few_layers_are_checkpointed_as_the_smallest_memory_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_recipe(write_recipe(tmp_path, "bert", train={"gradient_checkpointing": "auto"}))
    alone, memory = RankContext.alone(), [2**40, 2**40]
    monkeypatch.setattr(memory_check, "gather", lambda value, ranks: [value, *memory[1:]])
    monkeypatch.setattr(memory_check, "available_memory", lambda ranks: memory[0])

    def chosen(run: str = "new", resume: str = "never") -> Any:
        found = automatic.resolve(config, tmp_path / run, resume, alone)
        return found.config.train.gradient_checkpointing

    assert chosen() is False
    memory[1] = 2**10  # of another rank
    assert chosen() is True
    stored = config.train.model_copy(update={"gradient_checkpointing": 1})
    (tmp_path / "old").mkdir()
    recipe = config.model_copy(update={"train": stored}).model_dump(mode="json")
    (tmp_path / "old/recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert chosen("old", "auto") == 1
