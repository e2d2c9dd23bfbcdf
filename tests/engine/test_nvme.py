"""Weights on NVMe: the same training as with weights in memory, through DeepSpeed's own files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import ranks
import torch
from killed import kill_after, losses
from nvme import need_nvme
from tiny import config_of, save_backbone, write_recipe
from torch import nn
from transformers import AutoModel

from ptv2_scale.engine import nvme
from ptv2_scale.engine.nvme import buffer_problems, goes_to_nvme, with_buffers

WORKER = Path(__file__).with_name("nvme_worker.py")
# Weights of at least 1 MiB on each of two ranks, below which DeepSpeed keeps them in memory.
WIDE = {"hidden_size": 512, "num_hidden_layers": 4, "intermediate_size": 2048}
TABLE = 20_000 * 512  # more than all buffers together would grow by


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    need_nvme()
    folder = tmp_path / "nvme"
    folder.mkdir()
    monkeypatch.setenv("PTV2_SCALE_NVME", str(folder))
    return folder


def test_training_has_the_same_bits_and_leaves_nothing(disk: Path, tmp_path: Path) -> None:
    """One rank, whose weights are used where they were read, without checkpointing."""
    train = {"steps": 4, "global_batch": 2, "gradient_checkpointing": False}
    wide = {**WIDE, "vocab_size": 20_000}
    recipe = write_recipe(
        tmp_path, "bert", backbone_config=wide, train=train, evaluate={"every": 2}
    )
    compare(recipe, 1, tmp_path)
    assert list(disk.iterdir()) == []


def test_it_goes_on_to_the_same_bits_after_kill_9(disk: Path, tmp_path: Path) -> None:
    """Two ranks of classic GLM; what the killed ones leave on the disk is removed."""
    train = {"steps": 6, "global_batch": 2, "gradient_checkpointing": True}
    wide = {"hidden_size": 512, "num_layers": 2, "num_hidden_layers": 2}
    prompt = {"dropout": 0.1}
    recipe = write_recipe(
        tmp_path, "glm_classic", backbone_config=wide, train=train, prompt=prompt,
        evaluate={"every": 3}, deepspeed="zero3_offload_nvme",
    )  # fmt: skip
    kill_after(recipe, tmp_path / "zero3_offload_nvme", 2, 4)
    assert len(list(disk.rglob("*_param.tensor.swp"))) == 2 * 2 * 3
    compare(recipe, 2, tmp_path)
    assert list(disk.iterdir()) == []


def compare(recipe: Path, world: int, folder: Path) -> None:
    """Run with weights in memory and on NVMe, from wherever a run is."""
    made = []
    for name in ("zero3", "zero3_offload_nvme"):
        words = (f"run={folder / name}", f"deepspeed={name}", "--resume", "auto")
        ranks.cli(world, "train", str(recipe), *words).must_succeed()
        export = (folder / name / "export" / "prompt.safetensors").read_bytes()
        made.append((losses(folder / name), export))
    assert made[0] == made[1]


@pytest.mark.parametrize("world", [1, 2])
def test_files_hold_the_loaded_weights(world: int, disk: Path, tmp_path: Path) -> None:
    save_backbone("bert", tmp_path / "bert", **WIDE, vocab_size=20_000)
    ended = ranks.run(world, *ranks.worker(WORKER, tmp_path / "bert")).must_succeed()
    for output in ended.outputs:
        line = next(line for line in output.splitlines() if line.startswith("FOUND"))
        found = json.loads(line.removeprefix("FOUND"))
        assert found["wrong"] == []
        # Of a layer all six matrices, or the two that are large enough in halves; the pooler's.
        assert found["files"] == {1: 4 * 6 + 1, 2: 4 * 2}[world]
        assert found["memory"] == TABLE // world  # nothing else is as large
    assert list(disk.iterdir()) == []


def settings(**changes: Any) -> dict[str, Any]:
    offload = {"device": "nvme", "nvme_path": "here", **changes}
    return {"zero_optimization": {"stage": 3, "offload_param": offload}}


def model(**changes: Any) -> nn.Module:
    with torch.device("meta"):
        made: nn.Module = AutoModel.from_config(config_of("bert", **WIDE, **changes))
    return made.requires_grad_(False)


def buffers(full: dict[str, Any]) -> tuple[int, int]:
    offload = full["zero_optimization"]["offload_param"]
    return offload["buffer_count"], offload["buffer_size"]


def test_buffers_fit_the_model() -> None:
    """By hand: BERT's layers have six matrices, two of them of 2048 x 512."""
    large = model(vocab_size=20_000)
    table = large.get_input_embeddings().weight
    full = with_buffers(settings(), large, 1)
    assert buffers(full) == (8, 2048 * 512)
    assert not goes_to_nvme(full, table, 1)
    # A table that all buffers may be as large as for less than it takes itself: it has a buffer.
    assert buffers(with_buffers(settings(buffer_count=1), large, 1)) == (1, TABLE)
    # Halves of 1 MiB or more: two matrices of a layer.
    assert buffers(with_buffers(settings(), large, 2)) == (4, 2048 * 512 // 2)
    # Numbers of one's own stay.
    assert buffers(with_buffers(settings(buffer_size=TABLE, buffer_count=9), large, 1)) == (
        9,
        TABLE,
    )
    assert goes_to_nvme(with_buffers(settings(buffer_size=TABLE), large, 1), table, 1)
    # Where nothing is large enough there is still a buffer.
    count, size = buffers(with_buffers(settings(), model(vocab_size=120), 64))
    assert count > 0
    assert size > 0


def test_what_is_trained_or_kept_whole_is_not_on_nvme() -> None:
    matrix = nn.Parameter(torch.empty(2048, 512, device="meta"), requires_grad=False)
    full = with_buffers(settings(), model(), 1)
    assert goes_to_nvme(full, matrix, 1)
    assert not goes_to_nvme(full, nn.Parameter(matrix.detach()), 1)
    assert not goes_to_nvme(full, nn.Parameter(matrix.detach().bfloat16(), False), 1)
    full["zero_optimization"]["stage3_param_persistence_threshold"] = 2048 * 512
    assert not goes_to_nvme(full, matrix, 1)


def test_too_few_buffers_are_refused() -> None:
    assert list(buffer_problems(settings(buffer_count=8), model(), 1)) == []
    (problem,) = buffer_problems(settings(buffer_count=7), model(), 1)
    assert "buffer_count: found 7, but 8 weights of this model can be in use at once" in problem


def test_memory_that_may_not_be_locked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvme, "locked_limit", lambda: 8 * 2**20)
    (problem,) = buffer_problems(settings(), model(), 1)
    assert re.search(r"33,554,432 bytes .* 8,388,608 are allowed here \(ulimit -l\)", problem)
