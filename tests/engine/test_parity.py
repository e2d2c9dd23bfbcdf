"""ZeRO-3 on two ranks, checkpointing on, against plain torch in one process, for every family."""

from __future__ import annotations

from pathlib import Path

import pytest
import ranks
from tiny import MODEL_TYPES, save_backbone

WORKER = Path(__file__).parents[1] / "support" / "parity_worker.py"


def differences(output: str) -> dict[tuple[str, str], float]:
    rows = [line.split() for line in output.splitlines() if line.startswith("DIFFERENCE")]
    return {(kind, name): float(value) for _, kind, name, value in rows}


@pytest.mark.parametrize(
    ("dtype", "tolerances", "spread"),
    [
        ("fp32", {"others": 2e-6}, 0.15),
        # OPT scales its queries before they are rounded; 3.5e-2 was measured, as in plain bf16.
        ("bf16", {"others": 3e-2, "opt": 5e-2}, None),
    ],
    ids=["fp32", "bf16"],
)
def test_gradients_under_zero3_are_those_of_plain_torch(
    dtype: str, tolerances: dict[str, float], spread: float | None, tmp_path: Path
) -> None:
    for kind in MODEL_TYPES:
        save_backbone(kind, tmp_path / kind, spread)
    worker = ranks.worker(WORKER, tmp_path, dtype, "0.5" if dtype == "fp32" else "0.02")
    ended = ranks.run(2, *worker).must_succeed()
    found = differences(ended.outputs[0])
    assert {kind for kind, _ in found} == set(MODEL_TYPES)
    assert {name for _, name in found} >= {"prefix_encoder.embedding.weight", "head.out_proj.bias"}
    too_large = {
        (kind, name): value
        for (kind, name), value in found.items()
        if not value <= tolerances.get(kind, tolerances["others"])
    }
    assert not too_large
