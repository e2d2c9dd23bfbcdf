"""Places of points and ticks in the page's charts."""

from __future__ import annotations

import pytest
from sweep_trials import ladder, trial

from ptv2_scale.sweep.report.charts import BOTTOM, LEFT, RIGHT, TOP, charts_of, scale
from ptv2_scale.sweep.report.plots import plots_of


def test_equal_factors_are_equal_distances() -> None:
    at = scale([1e6, 1e8], 0, 112, log=True)
    assert [at(value) for value in (1e6, 1e7, 1e8)] == [6, 56, 106]
    assert scale([0.0, 1.0], 112, 0)(0.0) == 106
    assert scale([5.0], 0, 100)(5.0) == 50


def test_points_stand_on_their_ticks_and_inside() -> None:
    (chart,) = charts_of(plots_of(ladder())[0])
    ticks = {tick.text: tick.at for tick in chart.x_ticks}
    full = chart.curves[0]
    assert [dot.x for dot in full.dots] == [ticks["1M"], ticks["10M"], ticks["100M"]]
    assert full.dots[0].y == pytest.approx((full.dots[0].low + full.dots[0].high) / 2, abs=0.1)
    assert all(LEFT < dot.x < RIGHT and TOP < dot.y < BOTTOM for dot in full.dots)
    assert chart.trivial is not None
    assert chart.trivial > full.dots[0].y  # below
    assert full.dots[0].text == (
        "full, 1M parameters of the backbone: 0.6100 ± 0.0141 (2 seeds; train.lr=0.01)"
    )
    assert [seed.trial.seed for seed in full.dots[0].seeds] == [1, 2]


def test_a_frontier_goes_on_to_the_right() -> None:
    trials = [trial({"method": m}, s, seconds=t) for m, s, t in (("a", 0.6, 1.0), ("b", 0.9, 9.0))]
    chart = charts_of(plots_of(trials)[-1])[0]
    (a, b) = (curve.dots[0] for curve in chart.curves)
    assert chart.frontier == f"M{a.x},{a.y}H{b.x}V{b.y}H{RIGHT}"
    assert chart.curves[0].path == ""
