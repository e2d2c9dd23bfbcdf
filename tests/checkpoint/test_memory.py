"""Memory of a save, a resume, an export and a replication: bounded, whatever is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import ranks
from points import at_length
from tiny import save_backbone

from ptv2_scale.runtime.pieces import PIECE

WORKER = Path(__file__).with_name("memory_worker.py")
MIB = 1 << 18  # elements of fp32


@pytest.mark.parametrize(
    ("count", "numel", "name", "piece", "limit"),
    [
        # Of 64 MiB a rank's shard is 32 and its file 96; smaller pieces than those in use.
        (1, 64 * MIB + 3, "zero3", MIB, 24),
        (1, 64 * MIB + 3, "zero2", MIB, 24),
        pytest.param(8, 128 * MIB + 3, "zero3", PIECE, 256, marks=at_length),
    ],
    ids=["zero3", "zero2", "one-gibibyte"],
)
def test_no_phase_takes_more_than_pieces(
    count: int, numel: int, name: str, piece: int, limit: int, tmp_path: Path
) -> None:
    save_backbone("llama", tmp_path / "backbone")
    worker = ranks.worker(WORKER, tmp_path, count, numel, name, piece)
    for output in ranks.run(2, *worker, timeout=550).must_succeed().outputs:
        line = next(line for line in output.splitlines() if line.startswith("FOUND"))
        found = json.loads(line.removeprefix("FOUND"))
        print(found["growth"])
        assert {phase: mib for phase, mib in found["growth"].items() if mib >= limit} == {}
        existing, planted = found["refused"]
        assert existing == (
            f"{tmp_path / 'export'}: exists already, and nothing is overwritten. Name another one."
        )
        assert planted == "planted by the test"
