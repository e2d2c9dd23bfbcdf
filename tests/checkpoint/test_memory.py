"""Memory of a save, a resume, an export and a replication: bounded, whatever is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import ranks
from points import at_length
from tiny import save_backbone

from ptv2_scale.runtime.pieces import PIECE

WORKER = Path(__file__).with_name("memory_worker.py")
MIB = 1 << 18  # elements of fp32


def tables(count: int, numel: int) -> dict[str, Any]:
    """The method of another package that trains tables of some size."""
    return {"method": "input_bias", "idle_tables": count, "table_size": numel}


@pytest.mark.parametrize(
    ("section", "vocabulary", "name", "piece", "limit"),
    [
        # Of 64 MiB a rank's shard is 32 and its file 96; smaller pieces than those in use.
        (tables(1, 64 * MIB + 3), 120, "zero3", MIB, 24),
        (tables(1, 64 * MIB + 3), 120, "zero2", MIB, 24),
        # A backbone whose embedding is of 64 MiB.
        pytest.param({"method": "full"}, 2 * MIB, "zero3", MIB, 24, marks=at_length),
        pytest.param(tables(8, 128 * MIB + 3), 120, "zero3", PIECE, 256, marks=at_length),
    ],
    ids=["zero3", "zero2", "full", "one-gibibyte"],
)
def test_no_phase_takes_more_than_pieces(
    section: dict[str, Any], vocabulary: int, name: str, piece: int, limit: int, tmp_path: Path
) -> None:
    save_backbone("llama", tmp_path / "backbone", vocab_size=vocabulary)
    worker = ranks.worker(WORKER, tmp_path, json.dumps(section), name, piece)
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
