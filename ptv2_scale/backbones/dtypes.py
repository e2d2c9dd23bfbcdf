"""The number formats that a backbone computes in, and which of them suits a device."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import torch

from ptv2_scale.runtime.matmul_rates import MatmulRates

Dtype = Literal["bf16", "fp32"]
DTYPES: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp32": torch.float32}

CPU_INFO = Path("/proc/cpuinfo")
# Names of bf16 units: Intel's and AMD's, then ARM's. AVX-512 alone only emulates them.
_BF16_UNITS = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})
_LISTS = ("flags", "Features")  # x86's and ARM's name for a processor's abilities

_SIZES = (128, 256, 512, 1024)
_LONG_ENOUGH = 0.005  # seconds


def computes_in_bf16(device: torch.device) -> bool:
    """Whether a device has units for bf16, rather than taking bf16 apart into fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return not _BF16_UNITS.isdisjoint(_processor_abilities())


def suitable_dtype(device: torch.device) -> Dtype:
    """What `backbone.dtype: auto` is on a device: bf16 where it has units for it, else fp32."""
    return "bf16" if computes_in_bf16(device) else "fp32"


def _processor_abilities() -> frozenset[str]:
    """As Linux lists them; none where it does not."""
    try:
        lines = CPU_INFO.read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    lists = (line.partition(":")[2] for line in lines if line.startswith(_LISTS))
    return frozenset(next(lists, "").split())


def measure_matmul_rates(device: torch.device) -> MatmulRates:
    """Multiply matrices for some ten milliseconds in each number format, with PyTorch's threads."""
    return MatmulRates(*(_rate(DTYPES[name], device) for name in ("bf16", "fp32")))


def _rate(dtype: torch.dtype, device: torch.device) -> float:
    """Operations a second of the largest product that is tried, 1024 cubed where that is quick."""
    rate = 0.0
    for size in _SIZES:
        matrix = torch.ones(size, size, dtype=dtype, device=device)
        _seconds(matrix)  # what is made once
        took = _seconds(matrix)
        rate = 2 * size**3 / took
        if took > _LONG_ENOUGH:
            break
    return rate


def _seconds(matrix: torch.Tensor) -> float:
    began = time.perf_counter()
    matrix @ matrix
    if matrix.is_cuda:
        torch.cuda.synchronize(matrix.device)
    return time.perf_counter() - began
