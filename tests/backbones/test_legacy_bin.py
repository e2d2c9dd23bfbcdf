"""Old weight files, read by range: what torch.load reads from them, and nothing that runs."""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ptv2_scale.backbones.legacy_bin import LegacyFile
from ptv2_scale.backbones.weights import WeightFolder
from ptv2_scale.runtime.errors import UserError

DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)


def every_kind() -> OrderedDict[str, Any]:
    """Tensors of every dtype, and every way to lie in a storage."""
    torch.manual_seed(1)
    tensors: OrderedDict[str, Any] = OrderedDict()
    for dtype in DTYPES:
        tensors[str(dtype)] = (torch.randn(5, 7) * 50).to(dtype)
    base = torch.randn(6, 8, 3)
    tensors["tied"] = tensors["torch.float32"]
    tensors["rows"] = base[2:5]
    tensors["columns"] = base[:, 3:5]
    tensors["transposed"] = base.permute(2, 0, 1)
    tensors["every second"] = base.view(-1)[1::2]
    tensors["expanded"] = base[0, 0].expand(4, 3)
    tensors["one column"] = torch.randn(4, 1).t()
    tensors["scalar"] = torch.tensor(3.5)
    tensors["empty"] = torch.empty(0, 4)
    tensors["parameter"] = torch.nn.Parameter(torch.randn(3))
    tensors["no tensor"] = 3
    return tensors


def save_old(content: Any, path: Path) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def test_every_range_is_torchs_own(tmp_path: Path) -> None:
    path = save_old(every_kind(), tmp_path / "pytorch_model.bin")
    truth: dict[str, Tensor] = torch.load(path, weights_only=True)
    found = LegacyFile(path)
    assert found.names() == [name for name, value in truth.items() if isinstance(value, Tensor)]
    for name in found.names():
        whole = truth[name].detach().reshape(-1)
        assert found.shape(name) == tuple(truth[name].shape)
        for start, stop in ((0, len(whole)), (0, 0), (1, 2), (len(whole) // 2, len(whole))):
            part = found.read(name, start, stop)
            assert part.dtype == whole.dtype
            assert torch.equal(part, whole[start:stop]), (name, start, stop)


def test_module_states_keep_their_order(tmp_path: Path) -> None:
    """A module's state_dict carries `_metadata`, which a pickle sets as an attribute."""
    state = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3)).state_dict()
    found = LegacyFile(save_old(state, tmp_path / "pytorch_model.bin"))
    assert found.names() == list(state)
    assert torch.equal(found.read("0.weight", 0, 6), state["0.weight"].reshape(-1))


class Runs:
    """Unpickled without care, it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.trace}",)


def message_of(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        WeightFolder(path.parent).names()
    message = str(caught.value)
    assert message.startswith(f"{path}: not a readable file of tensors: ")
    return message


def pickles(path: Path, *contents: Any) -> Path:
    path.write_bytes(b"".join(pickle.dumps(content, protocol=2) for content in contents))
    return path


@pytest.mark.parametrize("place", ["old", "zip", "first pickle", "machine's note", "last pickle"])
def test_code_is_refused_and_not_run(place: str, tmp_path: Path) -> None:
    """Wherever in the file it is."""
    trace, path = tmp_path / "trace", tmp_path / "pytorch_model.bin"
    evil = Runs(trace)
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    if place in ("old", "zip"):
        torch.save(
            {"a": torch.ones(2), "b": evil}, path, _use_new_zipfile_serialization=place == "zip"
        )
    elif place == "first pickle":
        pickles(path, evil)
    else:
        pickles(path, *((*head[:2], evil) if place == "machine's note" else (*head, {}, evil)))
    message = message_of(path)
    assert not trace.exists()
    assert ("posix.system" in message) == (place != "zip")
    pickle.loads(pickle.dumps(evil))
    assert trace.exists(), "the bait is none"


def old_file(tail: bytes, shape: str = "I2\n", numel: int = 2, stride: bytes = b"I1\n") -> bytes:
    """A file with the float32 tensor `a` of one axis, its storage and what follows written out."""
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    storage = f"(Vstorage\nctorch\nFloatStorage\nV7\nVcpu\nI{numel}\nNtQ".encode()
    size = b"(" + shape.encode() + b"t"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"I0\n" + size
    tensor += b"(" + stride + b"tI00\n(dtR"
    table = b"(dVa\n" + tensor + b"s."
    return b"".join(pickle.dumps(one, protocol=2) for one in head) + table + tail


KEYS = pickle.dumps(["7"], protocol=2)
TWO = struct.pack("<q2f", 2, 1.5, -2.0)
DAMAGED = {
    "beyond its storage": (old_file(KEYS + TWO, "I3\n"), "beyond its storage"),
    "a negative size": (old_file(KEYS + TWO, "I-1\n"), "-1 where a size was expected"),
    "a negative step": (old_file(KEYS + TWO, "I2\n", stride=b"I-1\n"), "-1 where a size"),
    "cut short": (old_file(KEYS + TWO[:-1], "I2\n"), "it ends too early"),
    "another length": (
        old_file(KEYS + struct.pack("<q2f", 3, 0, 0), "I2\n"),
        "a storage has 3 elements instead of 2",
    ),
    "a storage missing": (old_file(pickle.dumps([], protocol=2), "I2\n"), "it ends too early"),
    "no pickle": (b"<!doctype html><title>404</title>", ""),
    "another pickle": (pickle.dumps([1, 2], protocol=2), "not a file of torch.save"),
    "nothing": (b"", "Ran out of input"),
}


def test_the_hand_written_file_is_a_right_one(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(old_file(KEYS + TWO, "I2\n"))
    assert LegacyFile(path).read("a", 0, 2).tolist() == [1.5, -2.0]
    assert torch.load(path, weights_only=False)["a"].tolist() == [1.5, -2.0]


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_named(case: str, tmp_path: Path) -> None:
    content, words = DAMAGED[case]
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(content)
    assert words in message_of(path)
