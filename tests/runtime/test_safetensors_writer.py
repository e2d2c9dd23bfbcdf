"""Files made piece by piece: byte for byte what safetensors' own writer makes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from ptv2_scale.backbones.tensor_files import NamedTensors, Tensors, read_whole
from ptv2_scale.checkpoint.shards import KINDS, LocalShard, ShardFile
from ptv2_scale.export.native import write_tensors
from ptv2_scale.methods.prefix.files import flat_prefix
from ptv2_scale.methods.prefix.method import PrefixMethod
from ptv2_scale.runtime import pieces


@pytest.fixture(params=[1, 7, 1 << 23])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", request.param)


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_ranges_cover_all_and_do_not_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 4)
    assert list(pieces.ranges(3, 12)) == [(3, 7), (7, 11), (11, 12)]
    assert list(pieces.ranges(5, 5)) == []


@pytest.mark.usefixtures("piece")
def test_a_shard_is_the_file_that_the_library_writes() -> None:
    flat = {kind: numbers(17) + number for number, kind in enumerate(KINDS)}
    shards = [LocalShard("head.b", (2, 17), 17, flat), LocalShard("head.a", (17,), 0, flat)]
    content = ShardFile(shards)
    tensors = {f"{s.name}/{kind}": v.clone() for s in shards for kind, v in s.values.items()}
    where = '{"head.b": {"start": 17, "shape": [2, 17]}, "head.a": {"start": 0, "shape": [17]}}'
    expected = save(tensors, metadata={"parts": where})
    assert b"".join(map(bytes, content.pieces())) == expected
    assert content.nbytes == len(expected)


def test_a_rank_without_shards_has_an_empty_file() -> None:
    content = ShardFile([])
    assert b"".join(map(bytes, content.pieces())) == save({}, metadata={"parts": "{}"})


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize("mlp", [False, True], ids=["table", "mlp"])
def test_an_export_is_the_file_that_the_library_writes(mlp: bool, tmp_path: Path) -> None:
    trained = {
        "prefix_encoder.embedding.weight": numbers(5, 6),
    }
    if mlp:
        trained["prefix_encoder.trans.0.weight"] = numbers(4, 6)
        trained["prefix_encoder.trans.0.bias"] = numbers(4)
        trained["prefix_encoder.trans.2.weight"] = numbers(12, 4)
        trained["prefix_encoder.trans.2.bias"] = numbers(12)
    head = {"head.out_proj.weight": numbers(2, 8), "head.bias": numbers(2), "head.s": numbers()}
    kept = Tensors.of(NamedTensors(head), head).beside(
        PrefixMethod.to_export(Tensors.of(NamedTensors(trained), trained))
    )
    write_tensors(tmp_path / "prompt.safetensors", kept)
    flat = flat_prefix(trained)
    assert flat is not None
    expected = save({**head, "prefix": flat.contiguous()}, metadata={"format": "pt"})
    assert (tmp_path / "prompt.safetensors").read_bytes() == expected
    assert torch.equal(read_whole(kept, "prefix"), flat)
