"""Correlations against SciPy's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ptv2_scale.tasks.correlation import pearson, spearman

# Whole and half points: equal ones are frequent, and rounding does not decide.
SCORES = st.integers(0, 10).map(lambda half: half / 2)
PAIRS = st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=30)


@given(PAIRS)
def test_against_scipy(pairs: list[tuple[float, float]]) -> None:
    truth, found = map(list, zip(*pairs, strict=True))
    if len(set(truth)) == 1 or len(set(found)) == 1:
        assert pearson(truth, found) == spearman(truth, found) == 0.0
        return
    assert pearson(truth, found) == pytest.approx(stats.pearsonr(truth, found).statistic, abs=1e-9)
    assert spearman(truth, found) == pytest.approx(
        stats.spearmanr(truth, found).statistic, abs=1e-9
    )
