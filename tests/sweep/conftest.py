"""Small sweeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ptv2_scale.sweep.api import Sweep

SMALL = """
recipe: demo
folder: {folder}
set: {{train.epochs: null, train.steps: 5}}
axes:
  method:
    head only: {{prompt: {{method: none}}}}
    prefix: {{prompt.length: 4}}
grid: {{train.lr: [0.01, 0.001]}}
launch: {{at_once: 2, nproc: 1}}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """`write(more, old=new)`: the small sweep's file, with texts replaced and lines added."""

    def written(more: str = "", **replaced: str) -> Path:
        text = SMALL.format(folder=tmp_path / "runs") + more
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "small.yaml"
        path.write_text(text)
        return path

    return written


@pytest.fixture
def small(write: Callable[..., Path]) -> Sweep:
    return Sweep.read(write())
