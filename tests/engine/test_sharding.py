"""Each rank reads its own slices; what DeepSpeed gathers from them is the file, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import ranks
from tiny import save_backbone

WORKER = Path(__file__).with_name("weights_worker.py")


@pytest.mark.parametrize(
    ("world", "name", "hpz"),
    [
        (4, "zero3", "2"),
        (3, "zero3", "auto"),
        (2, "zero3_offload_cpu", "auto"),
        (2, "zero2", "auto"),
    ],
    ids=["hpz", "zero3", "offload", "zero2"],
)
def test_weights_are_those_of_the_file_before_and_after_a_step(
    world: int, name: str, hpz: str, tmp_path: Path
) -> None:
    save_backbone("glm", tmp_path / "glm")
    worker = ranks.worker(WORKER, tmp_path / "glm", name, hpz)
    ended = ranks.run(world, *worker).must_succeed()
    for output in ended.outputs:
        line = next(line for line in output.splitlines() if line.startswith("FOUND"))
        found = json.loads(line.removeprefix("FOUND"))
        assert found["wrong"] == {"loaded": [], "after a forward": [], "stepped": []}
        assert (found["secondary"] > 0) == (hpz != "auto")
        # Nothing whole in between, no second copy: filled where it stays, but for small change.
        assert found["peak"] <= 1.02 * found["held"] + 4096
