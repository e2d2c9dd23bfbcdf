"""Checkpoints of strangers: manifest, trainer's state, parts, and links in their places."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from arena import Arena
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from strategies import damaged, json_bytes, mutated, trials

from ptv2_scale.checkpoint.file_systems import alone
from ptv2_scale.checkpoint.manifest import damage
from ptv2_scale.checkpoint.recovery import newest
from ptv2_scale.checkpoint.shards import CheckpointShards
from ptv2_scale.checkpoint.store import read_state

PART = "part-00000-of-00001.safetensors"
WHERE: dict[str, Any] = {"head.w": {"start": 0, "shape": [2, 3]}}
VALUES = {f"head.w/{kind}": torch.arange(6.0) for kind in ("fp32", "exp_avg", "exp_avg_sq")}
STATE: dict[str, Any] = {
    "step": 5, "evaluated": 5, "best": {"step": 5, "value": 0.5}, "without_gain": 0, "skipped": [],
    "recipe": {"train": {"lr": 0.1}}, "fingerprint": "0" * 64, "world": 1,
    "parameter_groups": [{"lr": 0.1, "weight_decay": 0.0}], "versions": {"torch": "2"},
}  # fmt: skip


def part(where: Any = WHERE, values: Any = VALUES) -> bytes:
    content: bytes = save(values, metadata={"parts": json.dumps(where)})
    return content


def stamp(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def checkpoint(arena: Arena, trainer: bytes, tensors: bytes, manifest: bytes | None = None) -> Path:
    """RUN/checkpoints/step-00000005; without a manifest, one that vouches for the other files."""
    folder = arena.inside / "run/checkpoints/step-00000005"
    shutil.rmtree(arena.inside / "run", ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "trainer.json").write_bytes(trainer)
    (folder / PART).write_bytes(tensors)
    (folder / "manifest.json").write_bytes(manifest or manifest_of(trainer, tensors))
    return folder


def manifest_of(trainer: bytes, tensors: bytes) -> bytes:
    files = {"trainer.json": stamp(trainer), PART: stamp(tensors)}
    return json.dumps({"format": 1, "files": files}).encode()


def use(folder: Path) -> None:
    """What `--resume auto` and `export` do with a run."""
    found = newest(folder.parents[1], alone())
    assert (found.path is None) == (damage(folder) is not None)
    if found.path is None:
        assert len(found.skipped) == 1
        str(found.skipped[0])
        return
    read_state(found.path)
    shards = CheckpointShards(found.path)
    for name in shards.shapes():
        assert shards.whole(name).shape == shards.shapes()[name]
        shards.read(name, "exp_avg", 0, 1)


TRAINER = json.dumps(STATE).encode()


@trials(2)
@given(data=st.data())
def test_manifests(arena: Arena, data: st.DataObject) -> None:
    valid = json.loads(manifest_of(TRAINER, part()))
    names = st.sampled_from(
        [
            "../../../../outside/mine",
            "/etc/passwd",
            "trainer.json/../../x",
            PART.replace("0000", "0001"),
        ]
    )
    known = stamp((arena.outside / "mine").read_bytes())
    outside = names.map(
        lambda n: json.dumps({**valid, "files": {**valid["files"], n: known}}).encode()
    )
    content = data.draw(json_bytes(valid, str(arena.canary)) | outside)
    folder = checkpoint(arena, TRAINER, part(), content or b" ")
    arena.attempt("manifest", lambda: use(folder))


@trials(2)
@given(data=st.data())
def test_trainer_states(arena: Arena, data: st.DataObject) -> None:
    """With a manifest that vouches for it: it shows damage, not a forger."""
    folder = checkpoint(arena, data.draw(json_bytes(STATE, str(arena.canary))), part())
    arena.attempt("trainer.json", lambda: use(folder))


@trials(2)
@given(data=st.data())
def test_parts(arena: Arena, data: st.DataObject) -> None:
    where = mutated(WHERE, str(arena.canary))
    sizes = st.lists(st.integers(0, 9), max_size=2)
    tensors = st.fixed_dictionaries({}, optional={name: sizes.map(torch.zeros) for name in VALUES})
    made = st.tuples(where | st.just(WHERE), tensors | st.just(VALUES)).map(
        lambda both: part(*both)
    )
    header = {"__metadata__": {"parts": json.dumps(WHERE)},
              "head.w/fp32": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}}  # fmt: skip
    lying = mutated(header, str(arena.canary)).map(json.dumps).map(str.encode)
    raw = lying.map(lambda text: struct.pack("<Q", len(text)) + text + bytes(24))
    folder = checkpoint(arena, TRAINER, data.draw(made | raw | damaged(part())))
    arena.attempt("checkpoint part", lambda: use(folder))


@pytest.mark.parametrize("shape", [[10**12], [2**47, 2**47], [0], [], [7], [2, 3, 0]])
def test_shapes_that_no_part_holds(arena: Arena, shape: list[int]) -> None:
    """Refused before memory is taken for them."""
    folder = checkpoint(arena, TRAINER, part({"head.w": {"start": 0, "shape": shape}}))
    arena.attempt("checkpoint part", lambda: use(folder))


@pytest.mark.parametrize("name", ["trainer.json", PART, "manifest.json"])
def test_a_link_is_no_file_of_a_checkpoint(arena: Arena, name: str) -> None:
    folder = checkpoint(arena, TRAINER, part())
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    elsewhere = arena.inside / "elsewhere"
    elsewhere.write_bytes(content)
    (folder / name).symlink_to(elsewhere)
    assert damage(folder) is not None
    arena.attempt("manifest", lambda: use(folder))


def test_a_good_one_is_accepted(arena: Arena) -> None:
    folder = checkpoint(arena, TRAINER, part())
    assert arena.attempt("control", lambda: use(folder)) is None
    assert newest(arena.inside / "run", alone()).path == folder
