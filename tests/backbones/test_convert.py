"""Conversion to safetensors: the values, what a kill leaves, and what is refused."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import save_backbone, save_tokenizer
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from ptv2_scale.backbones import convert as convert_module
from ptv2_scale.backbones.convert import Conversion, convert
from ptv2_scale.backbones.load import load_backbone
from ptv2_scale.cli import main
from ptv2_scale.runtime import atomic, pieces
from ptv2_scale.runtime.errors import UserError

SMALL = 20_000  # bytes of a shard: several shards of a tiny backbone
FORMS = ("zip", "old", "shards")


def save_bin(tensors: dict[str, Tensor], folder: Path, form: str) -> None:
    if form != "shards":
        new = form == "zip"
        torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=new)
        return
    table = {}
    for number, part in enumerate((list(tensors)[::2], list(tensors)[1::2]), start=1):
        name = f"pytorch_model-{number:05d}-of-00002.bin"
        table.update(dict.fromkeys(part, name))
        torch.save({key: tensors[key] for key in part}, folder / name)
    (folder / "pytorch_model.bin.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": table})
    )


def publish_bin(kind: str, folder: Path, form: str = "zip") -> Path:
    """A tiny backbone with its tokenizer as pickled files; T5's tied names are all there."""
    save_backbone(kind, folder)
    save_tokenizer(folder)
    model = AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    (folder / "LICENSE").write_text("free")
    save_bin(model.state_dict(), folder, form)
    return folder


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def message_of(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        action()
    return str(caught.value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_values_are_rounded_once_or_kept(dtype: Any, form: str, tmp_path: Path) -> None:
    folder, out = publish_bin("t5", tmp_path / "in", form), tmp_path / "deep" / "out"
    convert(Conversion(folder, dtype, SMALL), out)
    source = AutoModel.from_pretrained(folder).state_dict()
    width = torch.bfloat16 if dtype == "bf16" else torch.float32
    shards = sorted(out.glob("model-*.safetensors"))
    assert len(shards) > 2
    assert all(path.stat().st_size < SMALL + 4000 for path in shards)
    found = {name: value for path in shards for name, value in load_file(path).items()}
    assert {"shared.weight", "encoder.embed_tokens.weight"} <= found.keys()
    assert found.keys() == source.keys()
    for name, value in source.items():
        assert found[name].dtype == width
        assert torch.equal(found[name], value.to(width)), name
    reference = AutoModel.from_pretrained(out)  # its dtype is config.json's
    assert reference.dtype == width
    for name, parameter in load_backbone(str(out), dtype="fp32").named_parameters():
        assert torch.equal(parameter, reference.get_parameter(name).float()), name


def test_what_lies_beside_the_weights_comes_along(tmp_path: Path) -> None:
    folder, out = publish_bin("bert", tmp_path / "in", "shards"), tmp_path / "out"
    convert(Conversion(folder), out)
    kept = {"LICENSE", "tokenizer.json", "tokenizer_config.json"}
    assert content_of(out).keys() == kept | {"config.json", "model.safetensors"}
    for name in kept:
        assert (out / name).read_bytes() == (folder / name).read_bytes()
    old, new = (json.loads((place / "config.json").read_text()) for place in (folder, out))
    assert new == {**old, "dtype": "bfloat16"}
    ids = [AutoTokenizer.from_pretrained(place)("w1 w2")["input_ids"] for place in (folder, out)]
    assert ids[0] == ids[1]
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


def test_dtypes_of_all_kinds(tmp_path: Path) -> None:
    """Floats are converted, others kept; each starts at a multiple of its element's size."""
    tensors = {
        "flags": torch.tensor([True, False, True]),
        "half": torch.randn(3).half(),
        "ids": torch.arange(5),
        "scalar": torch.tensor(1.5),
        "double": torch.randn(3, dtype=torch.float64),
        "none": torch.empty(0, 3),
        "bytes": torch.arange(7, dtype=torch.uint8),
    }
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "config.json").write_text("{}")
    save_bin(tensors, tmp_path / "in", "zip")
    convert(Conversion(tmp_path / "in", "fp32"), tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    for name, value in tensors.items():
        assert torch.equal(found[name], value.float() if value.is_floating_point() else value), name
    raw = (tmp_path / "out" / "model.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    assert size % 8 == 0
    table = json.loads(raw[8 : 8 + size])
    for name, width in (("ids", 8), ("double", 4), ("half", 4), ("scalar", 4)):
        assert table[name]["data_offsets"][0] % width == 0


@pytest.mark.parametrize(
    "value", [torch.randn(2).to(torch.complex64), torch.zeros(2).to(torch.float8_e4m3fn)]
)
def test_a_dtype_that_has_no_right_conversion_is_named(value: Tensor, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    save_bin({"fine": torch.ones(2), "odd": value}, tmp_path, "zip")
    message = message_of(lambda: convert(Conversion(tmp_path), tmp_path / "out"))
    assert f"odd is {value.dtype}, which cannot be converted" in message
    assert not (tmp_path / "out").exists()


def in_child(action: Callable[[], None]) -> int:
    """Run in a forked process; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 3
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_killed_again_and_again_it_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after every third piece, shards half written among them; finished ones are kept."""
    monkeypatch.setattr(pieces, "PIECE", 700)
    folder = publish_bin("t5", tmp_path / "in", "old")
    conversion = Conversion(folder, shard_bytes=8_000)
    convert(conversion, tmp_path / "unbroken")
    begun: list[int] = []

    def killed() -> None:
        calls = iter(range(12))

        def report(done: int, total: int) -> None:
            if next(calls, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        convert(conversion, tmp_path / "out", report)

    building = tmp_path / ".out.unfinished"
    while in_child(killed) == -signal.SIGKILL:
        assert not (tmp_path / "out").exists()
        begun.append(len(list(building.glob("*.safetensors"))))
        assert list(building.glob("*.partial"))
        assert len(begun) < 100
    assert len(begun) > 3
    assert begun == sorted(set(begun)), "every attempt finished at least one more shard"
    assert content_of(tmp_path / "out") == content_of(tmp_path / "unbroken")
    assert not building.exists()


def test_killed_before_the_last_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conversion = Conversion(publish_bin("bert", tmp_path / "in"), shard_bytes=SMALL)
    convert(conversion, tmp_path / "unbroken")
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "sync", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        assert in_child(lambda: convert(conversion, tmp_path / "out")) == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    convert(conversion, tmp_path / "out")
    assert content_of(tmp_path / "out") == content_of(tmp_path / "unbroken")


def stop_after(pieces: int) -> Callable[[int, int], None]:
    calls = iter(range(pieces))

    def report(done: int, total: int) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt

    return report


def test_a_source_that_changed_is_noticed(tmp_path: Path) -> None:
    folder, out = publish_bin("bert", tmp_path / "in"), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        convert(Conversion(folder, shard_bytes=SMALL), out, stop_after(5))
    other = message_of(lambda: convert(Conversion(folder, "fp32", SMALL), out))
    assert "dtype was bf16 and is fp32" in other
    os.utime(folder / "pytorch_model.bin", ns=(1, 1))
    message = message_of(lambda: convert(Conversion(folder, shard_bytes=SMALL), out))
    assert "pytorch_model.bin has changed" in message
    assert f"{tmp_path}/.out.unfinished: " in message
    assert "Delete that folder to begin anew" in message


def test_other_content_with_the_same_size_and_time_is_noticed(tmp_path: Path) -> None:
    folder, out = publish_bin("bert", tmp_path / "in"), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        convert(Conversion(folder, shard_bytes=SMALL), out, stop_after(5))
    path = folder / "pytorch_model.bin"
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    message = message_of(lambda: convert(Conversion(folder, shard_bytes=SMALL), out))
    assert "pytorch_model.bin has changed" in message


def test_a_source_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    folder = publish_bin("bert", tmp_path / "in")

    def meddle(done: int, total: int) -> None:
        if done == total:
            (folder / "tokenizer.json").write_text("{}")

    message = message_of(lambda: convert(Conversion(folder), tmp_path / "out", meddle))
    assert "tokenizer.json has changed" in message
    assert not (tmp_path / "out").exists()


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    folder, out = publish_bin("bert", tmp_path / "in"), tmp_path / "out"
    out.mkdir()
    assert "exists already" in message_of(lambda: convert(Conversion(folder), out))
    assert "exists already" in message_of(lambda: convert(Conversion(folder), folder))
    assert not list(out.iterdir())


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    folder = publish_bin("bert", tmp_path / "in")
    (tmp_path / ".out.unfinished").mkdir()
    handle = os.open(tmp_path / ".out.unfinished", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    message = message_of(lambda: convert(Conversion(folder), tmp_path / "out"))
    assert "another process is at work on it" in message
    os.close(handle)
    convert(Conversion(folder), tmp_path / "out")


def test_too_small_a_disk_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = publish_bin("bert", tmp_path / "in"), tmp_path / "out"
    convert(Conversion(folder, shard_bytes=SMALL), tmp_path / "whole")
    # All that is written but the index: the plan, the index and the like are not worth a sum.
    parts = [p for p in (tmp_path / "whole").iterdir() if "index" not in p.name]
    needed = sum(path.stat().st_size for path in parts)
    with monkeypatch.context() as patch:
        patch.setattr(atomic.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 999}))
        message = message_of(lambda: convert(Conversion(folder, shard_bytes=SMALL), out))
    assert "and 999 are free" in message
    assert abs(int(message.split(" bytes are needed")[0].split()[-1]) - needed) < 100
    assert not list((tmp_path / ".out.unfinished").glob("*.safetensors"))


def test_a_disk_that_fills_up_is_said_and_what_is_done_is_kept(tmp_path: Path) -> None:
    """The limit on a file's size stands for the disk; config.json and the first shards fit."""
    conversion = Conversion(publish_bin("bert", tmp_path / "in"), shard_bytes=8_000)

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (7_000, resource.RLIM_INFINITY))
        message = message_of(lambda: convert(conversion, tmp_path / "out"))
        assert "could not be finished ([Errno 27] File too large" in message
        assert "kept: fix that and give the same command again" in message

    assert in_child(limited) == 0
    assert not (tmp_path / "out").exists()
    convert(conversion, tmp_path / "out")
    convert(conversion, tmp_path / "unbroken")
    assert content_of(tmp_path / "out") == content_of(tmp_path / "unbroken")


def peak_growth(action: Callable[[], None]) -> int:
    """MiB by which this process's resident memory peaks above what it was."""

    def status(key: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        (line,) = [line for line in lines if line.startswith(key)]
        return int(line.split()[1]) >> 10

    Path("/proc/self/clear_refs").write_text("5")  # begins a new peak
    before = status("VmRSS")
    action()
    return status("VmHWM") - before


@pytest.mark.parametrize("form", ["zip", "old"])
def test_memory_is_bounded(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 192 MiB with a tensor of 128; the pieces are made smaller than they are in use."""
    large, small = tmp_path / "large", tmp_path / "small"
    for folder, size in ((large, 1 << 24), (small, 1)):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        save_bin({"a": torch.ones(2 * size), "b": torch.ones(size)}, folder, form)
    monkeypatch.setattr(pieces, "PIECE", 1 << 20)
    monkeypatch.setattr(convert_module, "_REOPEN_BYTES", 1 << 24)
    out = tmp_path / "out"

    def measured() -> None:
        # A forked process has no page of PyTorch's own code in memory until it runs it.
        convert(Conversion(small), tmp_path / "first")
        growth = peak_growth(lambda: convert(Conversion(large), out))
        (tmp_path / "growth").write_text(str(growth))

    assert in_child(measured) == 0
    assert int((tmp_path / "growth").read_text()) < 64
    assert load_file(out / "model.safetensors")["a"].shape == (1 << 25,)


def test_the_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, out = publish_bin("bert", tmp_path / "in"), tmp_path / "out"
    assert main(["convert", str(folder), str(out), "--dtype", "fp32"]) == 0
    printed = capfd.readouterr()
    assert printed.out == f"{out}\n"
    assert "0.00 of 0.00 GB" in printed.err
    assert (
        load_file(out / "model.safetensors")["embeddings.LayerNorm.weight"].dtype is torch.float32
    )
    for wrong, words in ((tmp_path / "no", "no config.json"), (folder, "exists already")):
        target = tmp_path / "new" if wrong != folder else out
        assert main(["convert", str(wrong), str(target)]) == 2
        assert words in capfd.readouterr().err
