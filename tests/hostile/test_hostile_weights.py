"""Weight files of strangers: safetensors whose headers lie, pickles that would run code."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from arena import Arena
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from strategies import damaged, file_names, json_bytes, mutated, trials

from ptv2_scale.backbones.weights import WeightFolder, load_pickled
from ptv2_scale.methods.prefix.encoder import PrefixShape
from ptv2_scale.methods.prefix.files import read_flat_prefix, read_tensors

SHAPE = PrefixShape(length=2, slots=(("decoder", 0),), kv_heads=1, head_dim=2)
TENSORS = {
    "prefix": torch.ones(2, 4),
    "head.out_proj.weight": torch.ones(2, 3),
    "s": torch.ones(()),
}
GOOD = save(TENSORS)


def read_all(folder: Path) -> None:
    """Read as a backbone is read: every tensor, in two slices."""
    weights = WeightFolder(folder)
    for name in weights.names():
        total = torch.Size(weights.shape(name)).numel()
        for start, stop in ((0, total // 2), (total // 2, total)):
            assert weights.read(name, start, stop).numel() == stop - start


def folder_of(arena: Arena, name: str, content: bytes) -> Path:
    folder = arena.inside / "weights"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (folder / name).write_bytes(content)
    return folder


def try_all(arena: Arena, kind: str, folder: Path) -> None:
    path = next(path for path in folder.iterdir() if not path.name.endswith(".json"))
    arena.attempt(kind, lambda: read_all(folder))
    arena.attempt(kind, lambda: read_tensors(path))
    arena.attempt(kind, lambda: read_flat_prefix(folder, SHAPE))


def lying(header: Any, length: int | None, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", (len(text) if length is None else length) & (2**64 - 1)) + text + body


HEADER: dict[str, Any] = {
    "__metadata__": {"format": "pt"},
    "prefix": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]},
    "a.b.weight": {"dtype": "F16", "shape": [2], "data_offsets": [32, 36]},
}
DTYPES = ["F64", "BF16", "I8", "U8", "BOOL", "U16", "U64", "C64", "F8_E4M3", "F8_E8M0", "F4",
          "F6_E2M3", "F8_E5M2", "X"]  # fmt: skip


@trials(2)
@given(data=st.data())
def test_safetensors_headers(arena: Arena, data: st.DataObject) -> None:
    header = data.draw(mutated(HEADER, str(arena.canary)) | st.just(HEADER))
    length = data.draw(st.none() | st.sampled_from([0, 1, 2**31, 2**63, 2**64 - 1, 10, 10**9]))
    body = bytes(data.draw(st.sampled_from([36, 36, 36, 0, 35, 37])))
    content = data.draw(st.just(lying(header, length, body)) | damaged(GOOD))
    try_all(arena, "safetensors", folder_of(arena, "model.safetensors", content))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [[], [0], [8], [2, 4], [4, 0, 2], [2**40, 2**40], [-1]])
def test_number_formats_and_shapes(arena: Arena, dtype: str, shape: list[int]) -> None:
    for size in (0, 1, 4, 6, 8, 16, 64):
        header = {"prefix": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}
        folder = folder_of(arena, "model.safetensors", lying(header, None, bytes(size)))
        try_all(arena, "safetensors", folder)


class Harmful:
    """What a pickle says of itself is what it runs."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call


def pickles(canary: Path) -> dict[str, bytes]:
    touch = f"touch {canary}"
    torched = io.BytesIO()
    torch.save({"prefix": torch.ones(2, 4), "x": Harmful(os.system, touch)}, torched)
    old = io.BytesIO()
    torch.save({"x": Harmful(os.system, touch)}, old, _use_new_zipfile_serialization=False)
    bomb = io.BytesIO()
    torch.save({"prefix": torch.zeros(1).expand(10**6, 10**6)}, bomb)
    odd = io.BytesIO()
    torch.save({"prefix": torch.ones(2, 4).to_sparse(), 5: torch.ones(1)}, odd)
    meta = io.BytesIO()
    torch.save({"prefix": torch.ones(2, 4, device="meta")}, meta)
    large = io.BytesIO()
    torch.save({"prefix": torch.ones(10**9, 10**6, device="meta")}, large)
    listed = io.BytesIO()
    torch.save([torch.ones(2, 4)], listed)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", pickle.dumps({"x": 1}) + b"\0" * (50 << 20))
    return {
        "plain": pickle.dumps(Harmful(os.system, touch)),
        "eval": pickle.dumps({"prefix": Harmful(eval, f"__import__('os').system('{touch}')")}),
        "open": pickle.dumps(Harmful(open, str(canary), "w")),
        "old": old.getvalue(),
        "torch": torched.getvalue(),
        "bomb": bomb.getvalue(),
        "odd": odd.getvalue(),
        "meta": meta.getvalue(),
        "large": large.getvalue(),
        "list": listed.getvalue(),
        "zip": zipped.getvalue(),
    }


@pytest.mark.parametrize("name", pickles(Path("canary")))
def test_pickles_run_nothing(arena: Arena, name: str) -> None:
    folder = folder_of(arena, "pytorch_model.bin", pickles(arena.canary)[name])
    for action in (lambda: read_all(folder), lambda: read_flat_prefix(folder, SHAPE)):
        error = arena.attempt("pickle", action)
        assert error is not None
    assert not (folder / "canary").exists()


@trials()
@given(data=st.data())
def test_damaged_pickles(arena: Arena, data: st.DataObject) -> None:
    new, old = io.BytesIO(), io.BytesIO()
    torch.save(TENSORS, new)
    torch.save(TENSORS, old, _use_new_zipfile_serialization=False)
    content = data.draw(damaged(new.getvalue()) | damaged(old.getvalue()))
    try_all(arena, "pickle", folder_of(arena, "pytorch_model.bin", content))


@trials()
@given(data=st.data())
def test_indices_of_shards(arena: Arena, data: st.DataObject) -> None:
    """An index names files of its own folder, and nothing else is opened."""
    folder = folder_of(arena, "model-00001.safetensors", GOOD)
    valid = {"metadata": {}, "weight_map": {"prefix": "model-00001.safetensors"}}
    names = st.sampled_from(["../outside/mine", "/etc/passwd", str(arena.outside / "mine"), ".."])
    outside = st.fixed_dictionaries({"weight_map": st.dictionaries(st.text(), names, max_size=3)})
    content = json_bytes(valid, str(arena.canary)) | outside.map(lambda v: json.dumps(v).encode())
    (folder / "model.safetensors.index.json").write_bytes(data.draw(content))
    arena.attempt("shard index", lambda: read_all(folder))


@trials(0.5)
@given(data=st.data())
def test_sizes_of_saved_prefixes(arena: Arena, data: st.DataObject) -> None:
    """An MLP whose layers do not fit, a prefix of no or many axes."""
    sizes = st.lists(st.integers(0, 5), max_size=3)
    tensor = st.tuples(sizes, st.sampled_from([torch.float32, torch.int64, torch.bool])).map(
        lambda made: torch.zeros(made[0], dtype=made[1])
    )
    stem = "prefix_encoder."
    names = [f"{stem}embedding.weight", f"{stem}trans.0.weight", f"{stem}trans.0.bias",
             f"{stem}trans.2.weight", f"{stem}trans.2.bias", "prefix"]  # fmt: skip
    tensors = data.draw(st.dictionaries(st.sampled_from(names), tensor, max_size=6))
    folder = folder_of(arena, "prompt.safetensors", save(tensors))
    arena.attempt("safetensors", lambda: read_flat_prefix(folder, SHAPE))


@trials(0.3)
@given(data=st.data())
def test_where_a_prefix_is_looked_for(arena: Arena, data: st.DataObject) -> None:
    name = data.draw(file_names(str(arena.canary)))
    arena.attempt("prefix path", lambda: read_flat_prefix(Path(name), SHAPE))


def test_good_files_are_accepted(arena: Arena) -> None:
    folder = folder_of(arena, "model.safetensors", GOOD)
    assert arena.attempt("control", lambda: read_all(folder)) is None
    assert read_flat_prefix(folder, SHAPE).shape == (2, 4)
    saved = io.BytesIO()
    torch.save(TENSORS, saved)
    folder = folder_of(arena, "pytorch_model.bin", saved.getvalue())
    assert arena.attempt("control", lambda: read_all(folder)) is None
    assert set(load_pickled(folder / "pytorch_model.bin")) == set(TENSORS)
