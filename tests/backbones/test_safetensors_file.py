"""Safetensors files read without the library, against the library."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ptv2_scale.backbones.safetensors_file import SafetensorsFile
from ptv2_scale.runtime.errors import UserError

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8,
          torch.bool, torch.float8_e4m3fn, torch.complex64)  # fmt: skip


def bytes_read() -> int:
    """Bytes that this process has asked the kernel for."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar"))


def test_every_range_of_every_dtype_is_the_librarys(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    values = torch.randn(7, 5)
    tensors = {str(dtype): (values * 20).to(dtype) for dtype in DTYPES}
    save_file({**tensors, "none": torch.empty(0, 3), "one": torch.tensor(2.5)}, path)
    found = SafetensorsFile(path)
    with safe_open(path, framework="pt") as expected:
        assert set(found.names()) == set(expected.keys())
        for name in found.names():
            whole = expected.get_tensor(name)
            assert (found.dtype(name), found.shape(name)) == (whole.dtype, tuple(whole.shape))
            for start, stop in ((0, whole.numel()), (3, 17), (34, 35), (5, 5)):
                part = found.read(name, start, stop).view(torch.uint8)
                assert torch.equal(part, whole.reshape(-1)[start:stop].view(torch.uint8)), name


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.arange(4_000_000.0), "b": torch.ones(4_000_000)}, path)
    file, target = SafetensorsFile(path), torch.empty(1000)
    before = bytes_read()
    file.read_into("a", 3_000_000, target)
    assert bytes_read() - before < 4000 + 1000  # /proc/self/io itself among them
    assert torch.equal(target, torch.arange(3_000_000.0, 3_001_000.0))


def test_a_file_that_becomes_shorter_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(1000)}, path)
    file = SafetensorsFile(path)
    path.open("r+b").truncate(path.stat().st_size - 100)
    with pytest.raises(UserError, match="it has become shorter since it was opened"):
        file.read("a", 0, 1000)


def test_several_numbers_in_one_element_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    header = json.dumps({"a": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(UserError, match="a is of F4, which cannot be read here"):
        SafetensorsFile(path).dtype("a")
