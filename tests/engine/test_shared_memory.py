"""No run leaves memory behind, however it ends; what killed ones have left is removed."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

import pytest
import ranks

from ptv2_scale.engine import shared_memory
from ptv2_scale.engine.shared_memory import remove_abandoned_buffers

WORKER = Path(__file__).with_name("join_worker.py")
BUFFER = f"deepspeed_allreduce_buffer_{os.getuid()}_127.0.0.1_"


@pytest.mark.parametrize("end", ["done", "killed"])
def test_nothing_is_left_in_shared_memory(end: str) -> None:
    port = ranks.free_port()
    made = [
        ranks.begin(ranks.worker(WORKER, end), ranks.environment(rank, 2, port)) for rank in (0, 1)
    ]
    outputs = [process.communicate(timeout=200)[0] for process in made]
    for output in outputs:
        assert "SUM 3.0" in output, output[-4000:]
    assert all((process.returncode == 0) == (end == "done") for process in made)
    assert list(Path("/dev/shm").glob(f"*_{port}_*")) == []


def test_what_killed_runs_have_left_is_removed_where_nobody_can_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_memory, "MEMORY", tmp_path)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    kept = [f"{BUFFER}29500_0", f"{BUFFER}4_0", f"{BUFFER}5_0", "deepspeed_allreduce_buffer_x"]
    old = [f"{BUFFER}2_0", f"{BUFFER}2_1", f"{BUFFER}29500x_0"]
    for name in (*kept, *old):
        (tmp_path / name).write_bytes(b"x" * mmap.PAGESIZE)
        if name != kept[1]:
            os.utime(tmp_path / name, (time.time() - 7200, time.time() - 7200))
    with (tmp_path / kept[2]).open("r+b") as file, mmap.mmap(file.fileno(), 0):
        remove_abandoned_buffers()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
