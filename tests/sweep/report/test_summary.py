"""Means and deviations over seeds, by hand."""

from __future__ import annotations

from math import sqrt

import pytest
from sweep_trials import trial

from ptv2_scale.sweep.report.summary import summary_of, trivial_score

AXES = {"method": "prefix"}


def test_the_best_values_are_summed_up_over_their_seeds() -> None:
    trials = [
        *(trial(AXES, score, seed=seed, params={"train.lr": 0.1})
          for seed, score in ((3, 0.9), (1, 0.6), (2, 0.6))),
        *(trial(AXES, score, seed=seed, params={"train.lr": 0.01}, seconds=seconds,
                peak_memory_bytes=100 * seed, export_bytes=7)
          for seed, score, seconds in ((3, 0.8, 6.0), (1, 0.7, 2.0), (2, 0.75, 4.0))),
    ]  # fmt: skip
    found = summary_of(trials)
    assert found is not None
    assert (found.values, [one.seed for one in found.trials]) == ("train.lr=0.01", [1, 2, 3])
    assert found.mean == pytest.approx(0.75)
    assert found.deviation == pytest.approx(sqrt((0.05**2 + 0.05**2) / 2))
    assert (found.seconds, found.peak_memory_bytes, found.export_bytes) == (4.0, 300, 7)
    assert found.trained_share == 1000 / 1_001_000


def test_one_seed_has_no_deviation_and_none_no_summary() -> None:
    one = summary_of([trial(AXES, 0.7, trained_parameters=None)])
    assert one is not None
    assert (one.deviation, one.trained_share) == (None, None)
    assert summary_of([trial(AXES, None)]) is None


def test_the_score_of_one_answer_is_the_highest_that_is_known() -> None:
    trials = [trial(AXES, 0.7, trivial=value) for value in (0.5, None, 0.6)]
    assert trivial_score(trials) == 0.6
    assert trivial_score([]) is None
