"""Each rank reads its own slices; what DeepSpeed gathers from them is the file, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import ranks
from points import sample
from tiny import save_backbone

WORKER = Path(__file__).with_name("weights_worker.py")


CASES = {
    "hpz": (4, "zero3", "2"),
    "zero3": (3, "zero3", "auto"),
    "offload": (2, "zero3_offload_cpu", "auto"),
    "zero2": (2, "zero2", "auto"),
}
# In 8 bits every run of the tests takes the first: its slices begin in the middle of rows.
IN_8_BITS = sample([(name, "int8") for name in CASES], 1)


@pytest.mark.parametrize(
    ("case", "quantization"), [*((name, "null") for name in CASES), *IN_8_BITS]
)
def test_weights_are_those_of_the_file_before_and_after_a_step(
    case: str, quantization: str, tmp_path: Path
) -> None:
    world, name, hpz = CASES[case]
    save_backbone("glm", tmp_path / "glm")
    worker = ranks.worker(WORKER, tmp_path / "glm", name, hpz, quantization)
    ended = ranks.run(world, *worker).must_succeed()
    for output in ended.outputs:
        line = next(line for line in output.splitlines() if line.startswith("FOUND"))
        found = json.loads(line.removeprefix("FOUND"))
        assert found["wrong"] == {"loaded": [], "after a forward": [], "stepped": []}
        assert (found["secondary"] > 0) == (hpz != "auto")
        assert (found["int8"] > 0) == (quantization == "int8")
        # Nothing whole in between, no second copy: filled where it stays, but for small change.
        if quantization == "null":
            assert found["peak"] <= 1.02 * found["held"] + 4096
