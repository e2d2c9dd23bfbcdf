"""DeepSpeed's extension that reads and writes NVMe disks, built where it can be."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import pytest
import ranks
from deepspeed.ops.op_builder import AsyncIOBuilder
from points import EVERYTHING

BUILD = """
from ptv2_scale.engine.jit import NVME, prepare_extensions
prepare_extensions((NVME,))
"""


@cache
def need_nvme() -> None:
    """Skip where it cannot be built; building takes ten minutes of a core, so it is done at length.

    It is built outside of ranks, which have limits of time.
    """
    if not EVERYTHING:
        pytest.skip("building DeepSpeed's extension takes long: PTV2_SCALE_EVERYTHING=1")
    if not AsyncIOBuilder().is_compatible():
        pytest.skip("no libaio with its headers here (Debian: libaio-dev)")
    subprocess.run([sys.executable, "-c", BUILD], check=True, env=ranks.environment(0, 1, 0))
