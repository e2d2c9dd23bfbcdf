"""The accelerators that the user has chosen."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from nodes import world_of
from torch.cuda import _parse_visible_devices

from ptv2_scale.cli import main
from ptv2_scale.launchers.devices import shown_devices, visible_devices
from ptv2_scale.runtime.errors import UserError


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        ({"CUDA_VISIBLE_DEVICES": "4,5"}, ("4", "5")),
        ({"CUDA_VISIBLE_DEVICES": " 4, 5 ,6"}, ("4", "5")),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8932f937-d72c,GPU-5"}, ("GPU-8932f937-d72c", "GPU-5")),
        ({"CUDA_VISIBLE_DEVICES": ""}, ("-1", "-1")),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ("-1", "-1")),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, ("-1", "-1")),
        ({"CUDA_VISIBLE_DEVICES": "none"}, ("-1", "-1")),
        ({"CUDA_VISIBLE_DEVICES": "-1,0,1"}, ("-1", "-1")),
        ({"CUDA_VISIBLE_DEVICES": "4", "DS_ACCELERATOR": "cpu"}, None),
    ],
)
def test_the_chosen_devices(environ: dict[str, str], found: tuple[str, ...] | None) -> None:
    assert shown_devices(environ, 2) == found


TRIED = ["-1", "NoDevFiles", "", " ", "0", "0,1", " 0, 1 ,2", "0,-1,1", "1,x,2", "3,,4", "-1,0",
         "GPU-a", "GPU-a,GPU-b", "MIG-a,MIG-b", "GPU-a,MIG-b,GPU-c", "GPU-a,0", "0,GPU-a",
         "none", "all", "void", "10,2"]  # fmt: skip


@pytest.mark.parametrize("chosen", TRIED)
def test_as_pytorch_reads_it(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert list(visible_devices(chosen)) == [*map(str, _parse_visible_devices())]


def test_a_device_that_is_named_twice_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,0")
    assert _parse_visible_devices() == []
    with pytest.raises(UserError, match="names 0 twice"):
        visible_devices("0,0")


@pytest.mark.parametrize("chosen", ["-1", "NoDevFiles", ""])
def test_a_launch_without_devices_takes_any_number_of_ranks(
    chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    words = ["launch", "demo", f"run={tmp_path / 'run'}", "--nproc", "2", "--dry-run"]
    assert main(words) == 0
    argv = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert list(world_of(argv).values()) == [["-1", "-1"]]


@pytest.mark.parametrize("chosen", ["0,-1", "0,NoDevFiles,1"])
def test_devices_that_cuda_does_not_show_are_not_counted(chosen: str) -> None:
    with pytest.raises(UserError, match="shows 1 devices"):
        shown_devices({"CUDA_VISIBLE_DEVICES": chosen}, 2)


def test_too_few_chosen_devices_are_a_mistake() -> None:
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES=4,5 shows 2 devices"):
        shown_devices({"CUDA_VISIBLE_DEVICES": "4,5"}, 3)
