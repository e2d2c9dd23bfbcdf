"""Limits and numbers of axes, by hand."""

from __future__ import annotations

import pytest

from ptv2_scale.sweep.report.scales import limits, number_words, ticks


def test_an_axis_has_a_margin_around_its_values() -> None:
    assert limits([0.0, 1.0], log=False) == pytest.approx((-0.06, 1.06))
    assert limits([1.0, 100.0], log=True) == pytest.approx((10**-0.12, 10**2.12))
    assert limits([10.0], log=True) == pytest.approx((10**0.44, 10**1.56))


def test_numbers_are_round_and_inside() -> None:
    assert ticks([1e6, 3e8], log=True) == [1e6, 1e7, 1e8]
    assert ticks([10.0, 60.0], log=True) == [10, 20, 50]
    assert ticks([0.51, 0.79], log=False) == pytest.approx([0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8])
    assert ticks([23.0], log=True) == [10, 20, 50]


@pytest.mark.parametrize(
    ("value", "words"), [(3.5e8, "350M"), (1e9, "1B"), (1500, "1.5k"), (0.05, "0.05")]
)
def test_numbers_in_words(value: float, words: str) -> None:
    assert number_words(value) == words
