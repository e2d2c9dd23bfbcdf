"""When a number format is called slow."""

from __future__ import annotations

from ptv2_scale.runtime.matmul_rates import MatmulRates


def test_bf16_that_is_far_slower_than_fp32_is_slow() -> None:
    emulated, equal, units = (
        MatmulRates(8e8, 7e10),
        MatmulRates(6e10, 7e10),
        MatmulRates(7e11, 7e10),
    )
    assert emulated.slowness("bf16") == (
        "bf16 computes at 0.8 GFLOP/s, fp32 at 70: 87.5 times as fast"
    )
    found = [emulated.slowness("fp32"), *(one.slowness("bf16") for one in (equal, units))]
    assert found == [None] * 3
