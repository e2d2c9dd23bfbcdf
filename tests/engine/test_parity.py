"""ZeRO-3 on two ranks, checkpointing on, against plain torch in one process, for every family."""

from __future__ import annotations

from pathlib import Path

import pytest
import ranks
from tiny import MODEL_TYPES, save_backbone

WORKER = str(Path(__file__).with_name("parity_worker.py"))


def differences(output: str) -> dict[tuple[str, str], float]:
    rows = [line.split() for line in output.splitlines() if line.startswith("DIFFERENCE")]
    return {(kind, name): float(value) for _, kind, name, value in rows}


@pytest.mark.parametrize(
    ("dtype", "tolerance", "spread"),
    [("fp32", 2e-6, 0.15), ("bf16", 3e-2, None)],
    ids=["fp32", "bf16"],
)
def test_gradients_under_zero3_are_those_of_plain_torch(
    dtype: str, tolerance: float, spread: float | None, tmp_path: Path
) -> None:
    for kind in MODEL_TYPES:
        save_backbone(kind, tmp_path / kind, spread)
    ended = ranks.run(2, WORKER, str(tmp_path), dtype).must_succeed()
    found = differences(ended.outputs[0])
    assert {kind for kind, _ in found} == set(MODEL_TYPES)
    assert {name for _, name in found} >= {"prefix_encoder.embedding.weight", "head.out_proj.bias"}
    too_large = {key: value for key, value in found.items() if not value <= tolerance}
    assert not too_large
