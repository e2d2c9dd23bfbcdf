"""Whether an estimate fits."""

from __future__ import annotations

from ptv2_scale.estimate.fitting import verdict


def test_between_fitting_and_not_fitting_is_a_band_of_ten_percent() -> None:
    assert [verdict(total, 1000) for total in (900, 909, 910, 1000, 1111, 1112)] == [
        *("fits", "fits", "close", "close", "close", "does not fit")
    ]
