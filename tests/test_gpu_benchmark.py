"""The benchmark for GPUs on a CPU, with tiny shapes: its checks, and that it ends with a table."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import points
import ranks


@points.at_length
def test_it_checks_and_times_on_a_cpu(tmp_path: Path) -> None:
    work = tmp_path / "work"
    command = [sys.executable, str(ranks.CHECKOUT / "benchmarks" / "gpu.py"), str(work), "--tiny"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((work / "gpu.json").read_text())
    names = [check["name"] for check in found["checks"] if check["found"] is not None]
    for family in ("llama, padded left", "llama, padded right", "bert", "t5"):
        routes = ("sdpa", "causal") if family.startswith("llama") else ("sdpa",)
        for dtype, route in product(("fp32", "bf16"), routes):
            assert any(name.startswith(family) and f"{dtype}, {route}" in name for name in names)
    assert any("killed after step" in name for name in names)
    assert [row["side"] for row in found["rows"]] == [
        "ptv2_scale", "PEFT", "ptv2_scale, checkpointing", "ptv2_scale, causal"
    ]  # fmt: skip
    assert all(row["tokens_a_second"] > 0 for row in found["rows"])
    assert "| PEFT | 16 | 4 |" in done.stdout
