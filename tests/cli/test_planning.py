"""`ptv2-scale plan` as it is called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import write_recipe

from ptv2_scale.cli import main
from ptv2_scale.runtime.exit_codes import DONE, INVALID_INPUT


def test_a_plan_says_what_would_make_it_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(write_recipe(tmp_path, "bert", train={"micro_batch": 4, "global_batch": 8}))
    capsys.readouterr()  # libraries say something as they save the backbone
    words = ["train.gradient_checkpointing=false", "task.max_length=64", "--json"]
    assert main(["plan", recipe, *words, "--gpu-memory", "1"]) == DONE
    plenty = json.loads(capsys.readouterr().out)
    assert (plenty["verdict"], plenty["remedies"]) == ("fits", [])
    scarce = f"{plenty['total'] * 0.75 / 1e9:.12f}"
    assert main(["plan", recipe, *words, "--gpu-memory", scarce]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "does not fit"
    assert found["parts"] == plenty["parts"]
    ways = {word for one in found["remedies"] for word in one["words"]}
    assert "train.micro_batch=1" in ways
    limit = found["gpu_memory"]
    assert all(one["total"] * 1.1 <= limit for one in found["remedies"])
    best = found["remedies"][-1]
    assert main(["plan", recipe, *words[:-1], *best["words"], "--gpu-memory", scarce]) == DONE
    said = capsys.readouterr().out
    assert f"{best['total'] / 1e9:.3f}" in said
    assert said.rstrip().endswith("fits")


def test_a_plan_says_what_goes_over_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(write_recipe(tmp_path, "bert", train={"micro_batch": 4, "global_batch": 8}))
    capsys.readouterr()
    words = ["--gpu-memory", "1", "--gpus-per-host", "2", "deepspeed=zero1"]
    assert main(["plan", recipe, *words, "--json"]) == DONE
    found = json.loads(capsys.readouterr().out)
    trained = 6 * 3 * 2 * 32 + 32 * 2 + 2  # prefix of 6 in 3 slots, head of two classes
    # By a ring of two, in fp32: all-reduced, then the new values gathered.
    assert found["traffic"] == {
        "gathers": 0, "gradients": 4 * trained, "updates": 2 * trained, "from_host": 0, "across": 0
    }  # fmt: skip
    assert main(["plan", recipe, *words]) == DONE
    assert "a rank sends: gradients" in capsys.readouterr().out
    assert main(["plan", recipe, *words, "--gpu", "H100", "train.steps=7200", "--json"]) == DONE
    time = json.loads(capsys.readouterr().out)["time"]
    assert time["hours"] == pytest.approx(2 * time["seconds"])
    assert time["tokens"] == 8 * 20
    assert main(["plan", recipe, *words, "--gpu", "H100", "--rate", "1"]) == DONE
    assert "hours of 12 steps" in capsys.readouterr().out
    assert main(["plan", recipe, *words, "train.micro_batch=8", "--json"]) == DONE
    undivided = json.loads(capsys.readouterr().out)
    assert undivided["traffic"] is None
    assert "cannot be divided" in undivided["warnings"][0]


def test_a_plan_says_how_the_backbone_is_sharded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(write_recipe(tmp_path, "bert", deepspeed="auto"))
    capsys.readouterr()
    words = ["--gpu-memory", "1", "--gpus-per-host", "2"]
    assert main(["plan", recipe, *words, "--json"]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["deepspeed"], found["suggested_preset"]) == ("zero1", "zero1")
    assert main(["plan", recipe, *words]) == DONE
    said = capsys.readouterr().out
    assert "with deepspeed: zero1\n" in said
    assert "suggested preset" not in said
    named = [*words, "deepspeed=zero3"]
    assert main(["plan", recipe, *named, "--json"]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["deepspeed"], found["suggested_preset"]) == ("zero3", "zero1")
    assert main(["plan", recipe, *named]) == DONE
    said = capsys.readouterr().out
    assert "with deepspeed: zero3\n" in said
    assert "suggested preset: zero1, which deepspeed: auto would take here" in said


def test_a_plan_says_how_large_a_micro_batch_can_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(write_recipe(tmp_path, "bert", train={"global_batch": 12}))
    capsys.readouterr()
    words = ["--gpu-memory", "1", "--gpus-per-host", "2"]

    def sizes(*more: str) -> list[int]:
        assert main(["plan", recipe, *words, *more, "--json"]) == DONE
        found = json.loads(capsys.readouterr().out)
        return [found[name] for name in ("micro_batch", "suggested_micro_batch")]

    assert sizes() == [1, 6]
    assert sizes("train.micro_batch=auto", "evaluate.micro_batch=auto") == [6, 6]
    assert main(["plan", recipe, *words, "evaluate.micro_batch=auto"]) == DONE
    said = capsys.readouterr().out
    assert "with micro-batches of 1, evaluating 256\n" in said
    assert "suggested micro-batch: 6, which train.micro_batch: auto would take here" in said


def test_a_gpu_that_is_not_here_computes_in_bf16(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(write_recipe(tmp_path, "bert"))
    capsys.readouterr()
    weights = {}
    for dtype in ("auto", "bf16", "fp32"):
        words = [f"backbone.dtype={dtype}", "--json", "--gpu-memory", "80"]
        assert main(["plan", recipe, *words]) == DONE
        found = json.loads(capsys.readouterr().out)
        weights[dtype] = found["parts"]["weights"]
        assert found["dtype"] == ("fp32" if dtype == "fp32" else "bf16")
    assert 2 * weights["auto"] == 2 * weights["bf16"] == weights["fp32"]


def test_the_memory_of_a_gpu_must_be_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    recipe = str(write_recipe(tmp_path, "bert"))
    assert main(["plan", recipe]) == INVALID_INPUT
    assert "--gpu-memory" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["plan", recipe, "--gpu-memory", "-3"])
