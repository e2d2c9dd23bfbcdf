"""Keys that say `auto`: chosen alike on all ranks, stored in the run, and taken from it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ranks
import torch
import yaml
from killed import losses
from tiny import write_recipe

import ptv2_scale
from ptv2_scale.backbones import attention_call, dtypes
from ptv2_scale.config import RunConfig, load_recipe
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine import automatic, memory_check
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.runtime.errors import UserError

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
    two = RankContext(0, 2, 0, 2, CPU)
    found = automatic.resolve(config, tmp_path / "run", "never", two)
    assert (found.config.backbone.dtype, found.chosen) == (wanted, (f"backbone.dtype={wanted}",))
    named = config.model_copy(update={"backbone": found.config.backbone})
    assert automatic.resolve(named, tmp_path / "run", "never", two).chosen == ()


def test_a_rank_whose_host_lacks_the_run_takes_what_another_has_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(tmp_path, monkeypatch, bf16=True)
    stored = {"backbone.dtype": "fp32"}
    monkeypatch.setattr(automatic, "gather", lambda value, ranks: [value, (value[0], stored)])
    two = RankContext(0, 2, 0, 2, CPU)
    found = automatic.resolve(recipe_of(tmp_path), tmp_path / "gone", "auto", two)
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


def test_sharding_is_chosen_before_layers_and_for_even_hosts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(
        tmp_path, "bert", deepspeed="auto", train={"gradient_checkpointing": "auto"}
    )
    config, asked = load_recipe(recipe), []
    per_host = [2, 2, 2, 2]

    def gather(value: Any, ranks: RankContext) -> list[Any]:
        return per_host if isinstance(value, int) else [value] * 4

    def sharding(setup: Any, cluster: Cluster, *_: Any) -> str:
        asked.append(cluster)
        return "zero3_hpz"

    def layers(setup: Any, *_: Any) -> bool:
        assert setup.config.deepspeed == "zero3_hpz"
        return False

    monkeypatch.setattr(automatic, "gather", gather)
    monkeypatch.setattr(memory_check, "gather", lambda value, ranks: [value])
    monkeypatch.setattr(automatic, "on_first_rank", lambda ranks, action: action())
    monkeypatch.setattr(automatic, "least_sharding", sharding)
    monkeypatch.setattr(automatic, "fewest_layers", layers)
    four = RankContext(0, 4, 0, 2, CPU)
    wanted = ("deepspeed=zero3_hpz", "train.gradient_checkpointing=false")
    assert automatic.resolve(config, tmp_path / "new", "never", four).chosen == wanted
    per_host[2:] = [1, 1]  # of two more hosts
    automatic.resolve(config, tmp_path / "new", "never", four)
    assert asked == [Cluster(2, 2), Cluster(4, 1)]


def test_a_run_keeps_the_configuration_that_it_has_stored_whatever_it_is_called(
    tmp_path: Path,
) -> None:
    own = tmp_path / "my own: configuration.json"
    recipe = write_recipe(tmp_path, "bert", deepspeed="auto")
    config, run = load_recipe(recipe), tmp_path / "old"
    run.mkdir()
    before = config.model_copy(update={"deepspeed": str(own)}).model_dump(mode="json")
    (run / "recipe.yaml").write_text(yaml.safe_dump(before))
    found = automatic.resolve(config, run, "auto", RankContext.alone())
    assert (found.config.deepspeed, found.chosen) == (str(own), ())


def test_a_backbone_that_fits_is_not_sharded_and_stays_so_on_other_ranks(tmp_path: Path) -> None:
    """The losses are those of ZeRO-3, and of a run that another number of ranks goes on with."""
    prompt = {"dropout": 0.0}
    recipe = write_recipe(tmp_path, "bert", deepspeed="auto", prompt=prompt, checkpoint={"keep": 9})
    whole, sharded = tmp_path / "whole", tmp_path / "sharded"
    first = ranks.cli(2, "train", str(recipe), f"run={whole}").must_succeed()
    assert "chosen for this run: deepspeed=zero1" in first.outputs[0]
    assert deepspeed_of(whole) == "zero1"
    ranks.cli(2, "train", str(recipe), f"run={sharded}", "deepspeed=zero3").must_succeed()
    assert deepspeed_of(sharded) == "zero3"
    expected = losses(sharded)
    assert losses(whole) == pytest.approx(expected, rel=1e-5)
    checkpoint = whole / "checkpoints" / "step-00000004"
    for world in (1, 2):
        run = tmp_path / f"on-{world}"
        arguments = (f"run={run}", "--resume", str(checkpoint))
        again = ranks.cli(world, "train", str(recipe), *arguments).must_succeed()
        assert "chosen for this run" not in again.outputs[0]
        assert deepspeed_of(run) == "zero1"
        found = losses(run)
        assert sorted(found) == list(range(5, 13))
        assert found == pytest.approx({step: expected[step] for step in found}, rel=1e-5)
    # What serves a run is chosen anew only where a command asks for it.
    auto = ("deepspeed=auto", "train.micro_batch=auto", "evaluate.micro_batch=auto")
    answer = ranks.cli(2, "evaluate", str(sharded), *auto).must_succeed().outputs[0]
    assert '"split": "validation"' in answer


def test_micro_batches_are_as_large_as_the_memory_and_other_ranks_take_what_they_can(
    tmp_path: Path,
) -> None:
    """The losses are those of small micro-batches."""
    sizes = {"micro_batch": "auto", "global_batch": 6}
    recipe = write_recipe(
        tmp_path, "bert", prompt={"dropout": 0.0}, train=sizes, evaluate={"micro_batch": "auto"},
        checkpoint={"keep": 9},
    )  # fmt: skip
    whole, small = tmp_path / "whole", tmp_path / "small"
    first = ranks.cli(2, "train", str(recipe), f"run={whole}").must_succeed()
    chosen = "chosen for this run: train.micro_batch=3, evaluate.micro_batch=256"
    assert chosen in first.outputs[0]
    named = ("train.micro_batch=1", "evaluate.micro_batch=2")
    ranks.cli(2, "train", str(recipe), f"run={small}", *named).must_succeed()
    expected = losses(small)
    assert losses(whole) == pytest.approx(expected, rel=1e-5)
    checkpoint = whole / "checkpoints" / "step-00000004"
    for world, size, said in ((1, 3, False), (3, 2, True)):  # three ranks have two examples each
        run = tmp_path / f"on-{world}"
        arguments = (f"run={run}", "--resume", str(checkpoint))
        again = ranks.cli(world, "train", str(recipe), *arguments).must_succeed()
        assert ("chosen for this run: train.micro_batch=2" in again.outputs[0]) is said
        stored = yaml.safe_load((run / "recipe.yaml").read_text())
        assert stored["train"]["micro_batch"] == size
        assert stored["evaluate"]["micro_batch"] == 256
        found = losses(run)
        assert sorted(found) == list(range(5, 13))
        assert found == pytest.approx({step: expected[step] for step in found}, rel=1e-5)


def test_in_bf16_too_it_trains_and_goes_on(tmp_path: Path) -> None:
    """For stage 1 in bf16 DeepSpeed by itself has an optimizer that no checkpoint of ours knows."""
    recipe = write_recipe(tmp_path, "bert", deepspeed="auto", prompt={"dropout": 0.0})
    bf16, whole, sharded = "backbone.dtype=bf16", tmp_path / "whole", tmp_path / "sharded"
    ranks.cli(2, "train", str(recipe), bf16, f"run={whole}").must_succeed()
    assert deepspeed_of(whole) == "zero1"
    zero3 = (bf16, f"run={sharded}", "deepspeed=zero3")
    ranks.cli(2, "train", str(recipe), *zero3).must_succeed()
    assert losses(whole) == pytest.approx(losses(sharded), rel=0.02)
    checkpoint = sorted((whole / "checkpoints").glob("step-*"))[-2]
    going_on = (bf16, f"run={tmp_path / 'on'}", "--resume", str(checkpoint))
    ranks.cli(1, "train", str(recipe), *going_on).must_succeed()
    found = losses(tmp_path / "on")
    assert found == pytest.approx({step: losses(whole)[step] for step in found}, rel=0.02)
    assert found


def deepspeed_of(run: Path) -> Any:
    return yaml.safe_load((run / "recipe.yaml").read_text())["deepspeed"]


def test_attention_is_sdpa_until_a_gpu_has_shown_more(tmp_path: Path) -> None:
    config = load_recipe(write_recipe(tmp_path, "llama", backbone={"attention": "auto"}))
    found = automatic.resolve(config, tmp_path / "new", "never", RankContext.alone())
    assert found.chosen == ("backbone.attention=sdpa",)
    assert found.config.backbone.attention == "sdpa"


def test_another_route_of_attention_makes_and_continues_the_same_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses are those of sdpa but for rounding; what is said of the route is said once."""
    calls, attend = [], attention_call.bottom_right_attention

    def counted(*given: Any) -> torch.Tensor:
        calls.append(given)
        return attend(*given)

    monkeypatch.setattr(attention_call, "bottom_right_attention", counted)
    few = {"steps": 4, "micro_batch": 3}
    recipe = write_recipe(tmp_path, "llama", train=few, evaluate={"every": 2})
    ptv2_scale.train(recipe)
    causal, checkpoint = "backbone.attention=causal", tmp_path / "run/checkpoints/step-00000002"
    capsys.readouterr()
    assert calls == []
    ptv2_scale.train(recipe, [causal, f"run={tmp_path / 'begun'}"])
    # Three layers: twice in each of 8 micro-batches, once in the evaluations and in the guard.
    assert len(calls) >= 3 * 2 * 8
    assert capsys.readouterr().err.count("attention: causal, without a mask") == 1
    ptv2_scale.train(recipe, [causal, f"run={tmp_path / 'later'}"], resume=str(checkpoint))
    plain, begun, later = (losses(tmp_path / name) for name in ("run", "begun", "later"))
    assert begun == pytest.approx(plain, rel=1e-5)
    assert later == pytest.approx({step: plain[step] for step in (3, 4)}, rel=1e-5)
    calls.clear()
    rows = [{"text": "w0 w11 w12"}, {"text": "w13 w1 w14 w15 w16"}]
    here, there = (
        ptv2_scale.Predictor.load(tmp_path / name).predict(rows) for name in ("run", "begun")
    )
    assert [one["label"] for one in here] == [one["label"] for one in there]
    assert len(calls) == 3  # of the second alone


def test_a_route_that_does_not_serve_a_backbone_begins_no_run(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, "t5", backbone={"attention": "causal"})
    with pytest.raises(UserError, match="does not serve this T5: not all of its attention is"):
        ptv2_scale.train(recipe)
    assert not (tmp_path / "run").exists()
