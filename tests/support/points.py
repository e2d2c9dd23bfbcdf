"""The points at which faults happen, and which of them every run of the tests takes."""

from __future__ import annotations

import os
from typing import Any

import pytest

EVERYTHING = bool(os.environ.get("PTV2_SCALE_EVERYTHING"))
EXAMPLES = 100 if EVERYTHING else 30  # of a property, where hypothesis makes them
at_length = pytest.mark.skipif(not EVERYTHING, reason="takes long: PTV2_SCALE_EVERYTHING=1")

SAVE = [
    "os.mkdir {0}", "open part", "fsync part", "open trainer.json", "fsync trainer.json",
    "open manifest.json", "fsync manifest.json", "open {0}", "fsync {0}", "os.rename {0}",
    "open checkpoints", "fsync checkpoints",
]  # fmt: skip
# What the first rank does to files, in its order; the last save deletes an older checkpoint.
FIRST_RANK = [
    "os.mkdir checkpoints",
    *[
        operation.format(f".step-{step:08d}.building") for step in (4, 8, 12, 16)
        for operation in SAVE
    ],
    "os.rename step-00000008", "open .step-00000008.deleting", "os.rmdir .step-00000008.deleting",
]  # fmt: skip
THIRD_SAVE = range(2 + 2 * len(SAVE), 2 + 3 * len(SAVE))
DELETION = range(len(FIRST_RANK) - 2, len(FIRST_RANK) + 1)


def sample(points: list[Any], few: int) -> list[Any]:
    """All points, or a few spread over them."""
    if EVERYTHING or len(points) <= few:
        return points
    return [points[index * len(points) // few] for index in range(few)]
