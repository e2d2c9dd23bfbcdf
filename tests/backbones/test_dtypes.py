"""What `auto` is on processors of several sorts, by what Linux says of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch

from ptv2_scale import load_backbone
from ptv2_scale.backbones import dtypes

CPU = torch.device("cpu")
# As such machines list them, shortened.
PROCESSORS = {
    "bf16": ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16 amx_tile\n", "bf16"),
    "avx512": ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512dq avx512bw\n", "fp32"),
    "arm": ("processor\t: 0\nFeatures\t: fp asimd svebf16 i8mm bf16\n\nFeatures\t: fp\n", "bf16"),
    "old arm": ("Features\t: fp asimd\n", "fp32"),
}


@pytest.mark.parametrize(("text", "dtype"), PROCESSORS.values(), ids=PROCESSORS)
def test_a_processor_with_units_for_bf16_takes_it(
    text: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dtypes, "CPU_INFO", tmp_path / "cpuinfo")
    assert dtypes.suitable_dtype(CPU) == "fp32"  # nothing is known
    dtypes.CPU_INFO.write_text(text)
    assert dtypes.suitable_dtype(CPU) == dtype
    backbone = load_backbone(tiny.save_backbone("bert", tmp_path / "backbone"), dtype="auto")
    assert backbone.dtype == dtypes.DTYPES[dtype]


def test_a_gpu_that_only_emulates_bf16_takes_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    for units in (True, False):
        monkeypatch.setattr(
            "torch.cuda.is_bf16_supported",
            lambda including_emulation=True, units=units: units or including_emulation,
        )
        assert dtypes.suitable_dtype(gpu) == ("bf16" if units else "fp32")


def test_rates_are_operations_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    took = {torch.bfloat16: 0.1, torch.float32: 0.001}  # of any product
    monkeypatch.setattr(dtypes, "_seconds", lambda matrix: took[matrix.dtype])
    rates = dtypes.measure_matmul_rates(CPU)
    assert rates.bf16 == pytest.approx(2 * 128**3 / 0.1)  # the smallest took long enough
    assert rates.fp32 == pytest.approx(2 * 1024**3 / 0.001)
