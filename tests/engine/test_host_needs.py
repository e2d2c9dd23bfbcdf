"""What DeepSpeed's configuration needs of a host is looked at before weights are loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import ranks
import torch
from deepspeed.ops.op_builder import AsyncIOBuilder
from tiny import write_recipe
from torch import nn

from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.engine.host_needs import check_host_needs
from ptv2_scale.runtime.errors import UserError

MODEL = nn.Sequential(nn.Sequential(nn.Linear(1, 1)))  # nested 2 deep


def check(
    device: str = "cpu", rank: int = 0, zero: dict[str, Any] | None = None, **own: Any
) -> None:
    settings = {"zero_optimization": {"stage": 3, **(zero or {})}, **own}
    check_host_needs(settings, MODEL, RankContext(rank, 2, rank, 2, torch.device(device)))


def test_by_the_command_line(tmp_path: Path) -> None:
    """All is named at once, nothing is made, and no word of DeepSpeed's own is shown."""
    recipe, own = write_recipe(tmp_path), tmp_path / "own.json"
    (tmp_path / "file").touch()
    config = {
        "zero_optimization": {"stage": 3},
        "aio": {"use_gds": True},
        "csv_monitor": {"enabled": True, "output_path": str(tmp_path / "file" / "csv")},
        "flops_profiler": {"enabled": True, "module_depth": 50, "output_file": str(tmp_path)},
    }
    own.write_text(json.dumps(config))
    ended = ranks.cli(1, "train", str(recipe), f"deepspeed={own}")
    assert ended.code == 2
    said = ended.outputs[0]
    for word in (
        "aio.use_gds: found true, but ranks compute on the CPU",
        f"csv_monitor.output_path: {tmp_path / 'file'} is not a folder",
        "flops_profiler.module_depth: found 50, but modules of this model are nested",
        f"flops_profiler.output_file: {tmp_path} is a folder. Name a file",
    ):
        assert word in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_gds_is_for_gpus() -> None:
    check("cuda", aio={"use_gds": True})
    check("cpu", aio={"use_gds": False})


@pytest.mark.parametrize("built", [True, False])
def test_weights_on_nvme_need_libaio_and_a_folder(
    built: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AsyncIOBuilder, "is_compatible", lambda *_, **__: built)
    file = tmp_path / "file"
    file.touch()
    for path, wrong in ((tmp_path, False), (tmp_path / "new" / "deep", False), (file, True)):
        offload = {"device": "nvme", "nvme_path": str(path)}
        if built and not wrong:
            check(zero={"offload_param": offload})
            continue
        with pytest.raises(UserError) as error:
            check(zero={"offload_param": offload})
        assert ("it needs libaio" in str(error.value)) == (not built)
        assert (f"nvme_path: {file} is not a folder" in str(error.value)) == wrong
    check(zero={"offload_param": {"device": "cpu", "nvme_path": str(file)}})


def test_only_the_first_rank_writes_and_only_what_is_enabled(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for section in ("csv_monitor", "tensorboard"):
        check("cpu", 1, **{section: {"enabled": True, "output_path": str(file)}})
        check("cpu", 0, **{section: {"enabled": False, "output_path": str(file)}})
        with pytest.raises(UserError, match=f"{section}.output_path: .* is not a folder"):
            check("cpu", 0, **{section: {"enabled": True, "output_path": str(file)}})


@pytest.mark.parametrize(("depth", "fits"), [(-1, True), (2, True), (3, False)])
def test_the_profilers_depth_is_the_models(depth: int, fits: bool) -> None:
    profiler = {"enabled": True, "module_depth": depth}
    if fits:
        check(flops_profiler=profiler)
        return
    with pytest.raises(UserError, match="nested 2 deep"):
        check(flops_profiler=profiler)
