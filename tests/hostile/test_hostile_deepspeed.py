"""DeepSpeed JSON of strangers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from arena import Arena
from hypothesis import given
from hypothesis import strategies as st
from strategies import attacks, json_bytes, trials

from ptv2_scale.config.deepspeed import (
    complete,
    load_deepspeed,
    shipped_configs,
)

SHIPPED = [json.loads(path.read_text()) for path in shipped_configs().values()]


def use(name: str) -> None:
    config = load_deepspeed(name)
    complete(
        config, world=2, micro_batch=1, accumulation=1, clip=None, dtype="bf16", trained=10,
        ranks_per_host=1,
    )  # fmt: skip


@trials(2)
@given(data=st.data())
def test_files(arena: Arena, data: st.DataObject) -> None:
    valid: Any = data.draw(st.sampled_from(SHIPPED))
    path = arena.inside / "ds.json"
    path.write_bytes(data.draw(json_bytes(valid, str(arena.canary))))
    arena.attempt("DeepSpeed JSON", lambda: use(str(path)))


@trials(0.3)
@given(name=st.sampled_from([a for a in attacks("canary") if "\0" not in a]) | st.text(max_size=9))
def test_names(arena: Arena, name: str) -> None:
    arena.attempt("DeepSpeed name", lambda: use(name))


BOMBS = {
    "many keys": json.dumps({f"zero_optimization{n}": 1 for n in range(60_000)}),
    "one key many times": "{" + ", ".join(['"a": 1'] * 200_000) + "}",
    "many keys twice": "{" + ", ".join(f'"{n % 50_000}": 1' for n in range(100_000)) + "}",
    "large": json.dumps({"zero_optimization": {"stage": 3, "x": "y" * (80 << 20)}}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(arena: Arena, name: str) -> None:
    path = arena.inside / "bomb.json"
    path.write_text(BOMBS[name])
    assert arena.attempt("DeepSpeed JSON", lambda: use(str(path))) is not None


@pytest.mark.timeout(20)
def test_a_pipe_is_no_file(arena: Arena) -> None:
    pipe = Path(arena.inside / "pipe")
    os.mkfifo(pipe)
    assert arena.attempt("DeepSpeed name", lambda: use(str(pipe))) is not None


@pytest.mark.parametrize("name", sorted(set(shipped_configs()) - {"zero3_offload_nvme"}))
def test_shipped_ones_are_accepted(arena: Arena, name: str) -> None:
    assert arena.attempt("control", lambda: use(name)) is None
